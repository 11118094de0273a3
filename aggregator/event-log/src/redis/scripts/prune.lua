-- Drops the oldest records, up to `through`, that were received before a moment; never the last one.
-- KEYS: stream, meta. ARGV: log's name, epoch, through, moment in ms, most records.
local stream, meta = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'id', 'epoch', 'first', 'last')
if found[1] ~= ARGV[1] then
  return redis.error_reply('WEIRLOST it is gone, or another one is in its place')
end
if found[2] ~= ARGV[2] then
  return redis.error_reply('WEIRFENCED another weir has taken over')
end
-- The time of receipt in a header, in ms.
local function received_at(header)
  local at = 0
  for byte = 10, 3, -1 do
    at = at * 256 + string.byte(header, byte)
  end
  return at
end
local first, last = tonumber(found[3]), tonumber(found[4])
local stop = math.min(tonumber(ARGV[3]), last - 1, first + tonumber(ARGV[5]) - 1)
local kept = first
while kept <= stop do
  local id = string.format('%.0f-0', kept)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry or received_at(entry[2][2]) >= tonumber(ARGV[4]) then
    break
  end
  kept = kept + 1
end
if kept > first then
  local id = string.format('%.0f', kept)
  redis.call('XTRIM', stream, 'MINID', '=', id .. '-0')
  redis.call('HSET', meta, 'first', id)
end
return kept - first
