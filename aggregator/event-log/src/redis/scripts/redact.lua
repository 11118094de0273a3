-- Remembers users whose names readers overwrite in the records up to `through`.
-- KEYS: meta, redacted. ARGV: log's name, epoch, through, then the names.
local meta, redacted = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'id', 'epoch', 'redacted_through')
if found[1] ~= ARGV[1] then
  return redis.error_reply('WEIRLOST it is gone, or another one is in its place')
end
if found[2] ~= ARGV[2] then
  return redis.error_reply('WEIRFENCED another weir has taken over')
end
for n = 4, #ARGV do
  redis.call('SADD', redacted, ARGV[n])
end
if tonumber(ARGV[3]) > tonumber(found[3]) then
  redis.call('HSET', meta, 'redacted_through', ARGV[3])
end
redis.call('HINCRBY', meta, 'redactions', 1)
return 1
