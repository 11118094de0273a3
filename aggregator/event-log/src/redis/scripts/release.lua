-- Gives the right to write back, unless another has it by now. KEYS: lease. ARGV: epoch.
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
