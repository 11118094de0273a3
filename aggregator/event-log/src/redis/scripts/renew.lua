-- Renews the right to write. KEYS: meta, lease. ARGV: log's name, epoch, owner, holder, lease in ms.
local found = redis.call('HMGET', KEYS[1], 'id', 'epoch')
if found[1] ~= ARGV[1] then
  return redis.error_reply('WEIRLOST it is gone, or another one is in its place')
end
if found[2] ~= ARGV[2] then
  return redis.error_reply('WEIRFENCED another weir has taken over')
end
redis.call('HSET', KEYS[2], 'owner', ARGV[3], 'holder', ARGV[4], 'epoch', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
