ALTER TABLE provider_error ADD COLUMN unseen INTEGER NOT NULL DEFAULT 0; -- errors since a person acknowledged them
UPDATE provider_error SET unseen = errors;
CREATE TABLE unread_report(     -- reports of the provider that could not be read, until they are, or are acknowledged
  id     TEXT PRIMARY KEY,      -- the event's name
  at     INTEGER NOT NULL,      -- of the last attempt
  detail TEXT NOT NULL
) WITHOUT ROWID;
