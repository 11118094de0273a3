-- Moves a log aside. KEYS: the keys of the log, then as many new names for them, then the lease.
-- Returns the holder while somebody writes to it, else nothing.
local count = (#KEYS - 1) / 2
local holder = redis.call('HGET', KEYS[#KEYS], 'holder')
if holder then
  return holder
end
for n = 1, count do
  redis.call('DEL', KEYS[count + n])
  if redis.call('EXISTS', KEYS[n]) == 1 then
    redis.call('RENAME', KEYS[n], KEYS[count + n])
  end
end
return false
