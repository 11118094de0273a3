         CREATE TABLE log(id TEXT NOT NULL);
         INSERT INTO log(id) VALUES (lower(hex(randomblob(16))));
         CREATE TABLE record(
           position    INTEGER PRIMARY KEY,
           received_at INTEGER NOT NULL, -- milliseconds since 1970
           format      INTEGER NOT NULL, -- 1 batch, 2 event, 3 lines; since version 3: 4 readings, 5 lines of them
           gateway     TEXT,             -- the gateway the token was bound to
           checksum    INTEGER NOT NULL, -- of the packed body
           body        BLOB NOT NULL     -- LZ4 block, its size before it
         );