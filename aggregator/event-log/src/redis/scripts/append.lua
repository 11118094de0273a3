-- Appends records at the positions after `last`, all or none.
-- KEYS: stream, meta. ARGV: log's name, epoch, last, group's name, then header and body of each record.
-- Returns {last, group's name} as they are then: this group's name once its records are in the log, by this call or an earlier one;
-- another's where the log does not end at `last`.
local stream, meta = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'id', 'epoch', 'first', 'last', 'group')
if found[1] ~= ARGV[1] then
  return redis.error_reply('WEIRLOST it is gone, or another one is in its place')
end
if found[2] ~= ARGV[2] then
  return redis.error_reply('WEIRFENCED another weir has taken over')
end
local first, last = tonumber(found[3]), tonumber(found[4])
if found[5] == ARGV[4] then
  -- Written again, so that WAIT on a new connection covers the records too.
  redis.call('HSET', meta, 'group', ARGV[4])
  return {last, ARGV[4]}
end
if last ~= tonumber(ARGV[3]) then
  return {last, found[5]}
end
if redis.call('XLEN', stream) ~= last - first + 1 then
  return redis.error_reply('WEIRLOST entries are missing, or there are some that weir did not write')
end
local count = (#ARGV - 4) / 2
for n = 1, count do
  local id = string.format('%.0f-0', last + n)
  if not redis.call('XADD', stream, 'NOMKSTREAM', id, 'h', ARGV[3 + 2 * n], 'b', ARGV[4 + 2 * n]) then
    return redis.error_reply('WEIRLOST its stream is gone')
  end
end
redis.call('HSET', meta, 'last', string.format('%.0f', last + count), 'group', ARGV[4])
return {last + count, ARGV[4]}
