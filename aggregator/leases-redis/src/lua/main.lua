-- One step of one limit, whole or not at all.
-- KEYS: the limit, the memory. ARGV: the memory that the caller knows, lost_ms, epoch, ttl_ms, clock_error_ms, lent_percent, the
-- caller's reading of this server's time or '', 'report' | 'draw' | 'undo', the gateway, whether it draws, the report or draw in JSON.
-- Returns the answer, then leases and units that were lost. A failure of the memory, or of the time, begins with WEIR.
local READING_MAX_MS = 1000

if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
  return redis.error_reply('WEIRMEMORY it is another one')
end
local now = clock_ms()
local reading = tonumber(ARGV[7]) or now
if now - reading > READING_MAX_MS then
  return redis.error_reply('WEIRLATE the call waited too long')
end
-- All limits of one call have one time, which is the answer's.
now = math.min(now, reading)

local lost = {leases = 0, units = 0}
local asked = cjson.decode(ARGV[11])
asked.definition.tiers = asked.definition.tiers or {}
for _, field in ipairs({'epoch', 'granted', 'spent', 'returned', 'heard_ms'}) do
  asked[field] = asked[field] or 0
end
local timing = {ttl_ms = tonumber(ARGV[4]), clock_error_ms = tonumber(ARGV[5]), lent_percent = tonumber(ARGV[6])}
local kept = redis.call('GET', KEYS[1])
local limit
if kept then
  limit = read_limit(kept)
  limit.timing = timing
elseif ARGV[8] == 'undo' then
  return {0, 0, 0, 0, 0}
else
  limit = begin_limit(asked.definition, now, tonumber(ARGV[2]), timing)
end

local answer
if ARGV[8] == 'report' then
  local caller = {gateway = ARGV[9], draws = ARGV[10] == '1', epoch = tonumber(ARGV[3]), now = now}
  answer = report_lease(limit, caller, asked, lost)
elseif ARGV[8] == 'draw' then
  answer = draw_units(limit, asked, now, lost)
else
  answer = undo_draw(limit, asked)
end
redis.call('SET', KEYS[1], write_limit(limit), 'PX', string.format('%.0f', kept_ms(limit)))
answer[#answer + 1] = lost.leases
answer[#answer + 1] = least(lost.units, COUNT_MAX)
return answer
