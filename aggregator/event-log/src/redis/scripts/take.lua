-- Takes the right to write, and makes the log if asked to.
-- KEYS: stream, meta, lease. ARGV: owner, holder, lease in ms, name for a new log or '', its first position, expected name or ''.
-- Returns {0, holder} while another writes, else {1, name, epoch, first position, last one, entries}.
local stream, meta, lease = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'format', 'id')
local id = found[2]
if not id then
  if redis.call('EXISTS', stream) == 1 then
    return redis.error_reply('WEIRLOST its entries are there, but what weir keeps beside them is gone')
  end
  if ARGV[4] == '' then
    return redis.error_reply('WEIRLOST there is none')
  end
  id = ARGV[4]
  -- The only way to an empty stream.
  redis.call('XGROUP', 'CREATE', stream, 'new', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', stream, 'new')
  redis.call('HSET', meta, 'format', 1, 'id', id, 'partitions', 1, 'epoch', 0, 'group', '',
    'first', ARGV[5], 'last', string.format('%.0f', tonumber(ARGV[5]) - 1), 'redacted_through', 0, 'redactions', 0)
elseif found[1] ~= '1' then
  return redis.error_reply('WEIRVERSION ' .. tostring(found[1]))
end
if ARGV[6] ~= '' and ARGV[6] ~= id then
  return redis.error_reply('WEIRLOST another one is in its place')
end
local held = redis.call('HGET', lease, 'owner')
if held and held ~= ARGV[1] then
  return {0, redis.call('HGET', lease, 'holder')}
end
local epoch = redis.call('HINCRBY', meta, 'epoch', 1)
redis.call('DEL', lease)
redis.call('HSET', lease, 'owner', ARGV[1], 'holder', ARGV[2], 'epoch', epoch)
redis.call('PEXPIRE', lease, ARGV[3])
local ends = redis.call('HMGET', meta, 'first', 'last')
return {1, id, epoch, tonumber(ends[1]), tonumber(ends[2]), redis.call('XLEN', stream)}
