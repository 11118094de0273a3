-- What time does to a limit, and its size where gateways differ: limit/time.rs, limit/size.rs and limit/timing.rs.
local ANSWER_MAX_MS, SHARE_MAX_MS = 2000, 60000

local function outlived_ms(limit)
  return limit.timing.ttl_ms + limit.timing.clock_error_ms
end

local function belief(lease)
  return most(0, sub(lease.granted, lease.spent))
end

local function outstanding(limit)
  local units = limit.unknown
  for _, lease in ipairs(limit.leases) do
    units = add(units, belief(lease))
  end
  for _, share in ipairs(limit.shares) do
    units = add(units, share.bucket)
  end
  return mul(units, scale_of(limit.size))
end

-- What may be added to levels, in fractions; below 0 if gateways hold more than a lowered capacity.
local function room_of(limit)
  local scale = scale_of(limit.size)
  local capacity = mul(limit.size.definition.capacity, scale)
  return sub(sub(capacity, outstanding(limit)), total_of(limit.tiers, scale))
end

local function put_back(limit, tier, units)
  if units ~= 0 then
    put(limit.tiers, tier, units, limit.size, room_of(limit))
  end
end

-- The part of the refill that a share may take, in millionths.
local function share_ppm(share)
  return divide_up(PPM, most(share.sharers, 1))
end

local function used_ms(share, from, to)
  local start = math.max(from, share.confirmed_ms + share.begins_after_ms)
  return math.max(0, math.min(to, share.ends_ms) - start)
end

local function refill(limit, to)
  local from, by = limit.at_ms, to - limit.at_ms
  local function paused(tier)
    if from < limit.unknown_shares_until_ms then
      return PPM
    end
    local used = 0
    for _, share in ipairs(limit.shares) do
      if share.tier == tier - 1 then
        used = used + divide_up(mul(share_ppm(share), used_ms(share, from, to)), by)
      end
    end
    return used
  end
  refill_tiers(limit.tiers, limit.size, by, paused, room_of(limit))
  limit.at_ms = to
end

-- Forgets what is over. What a silent lease still held counts as spent.
local function forget(limit, lost)
  local leases, shares = {}, {}
  for _, lease in ipairs(limit.leases) do
    if lease.expires_ms > limit.at_ms then
      leases[#leases + 1] = lease
    elseif belief(lease) ~= 0 then
      lost.leases, lost.units = lost.leases + 1, add(lost.units, belief(lease))
    end
  end
  for _, share in ipairs(limit.shares) do
    if share.ends_ms > limit.at_ms then
      shares[#shares + 1] = share
    end
  end
  limit.leases, limit.shares = leases, shares
  if limit.unknown_until_ms <= limit.at_ms then
    local half = divide_up(limit.size.definition.capacity, 2)
    limit.unknown = limit.at_ms < limit.unknown_shares_until_ms and math.min(limit.unknown, half) or 0
  end
end

-- Moves a limit to `now`. Refill and expiries happen in their order.
local function advance(limit, now, lost)
  while limit.at_ms < now do
    local next_end = now
    local function ends(moment)
      if limit.at_ms < moment and moment < next_end then
        next_end = moment
      end
    end
    for _, lease in ipairs(limit.leases) do
      ends(lease.expires_ms)
    end
    for _, share in ipairs(limit.shares) do
      ends(share.ends_ms)
    end
    ends(limit.unknown_until_ms)
    ends(limit.unknown_shares_until_ms)
    refill(limit, next_end)
    forget(limit, lost)
  end
end

local function are_tiers_alike(one, other)
  for index, tier in ipairs(one) do
    local its = other[index]
    if not its or its.name ~= tier.name or its.percent ~= tier.percent then
      return false
    end
  end
  return #one == #other
end

local function new_size(definition, now)
  return {definition = definition, capacity_ms = now, refill_ms = now, tiers_ms = now}
end

-- Divides `units` among other tiers. Leases and shares of the old ones are over by then.
local function reshape(limit, units)
  limit.tiers = empty_tiers(limit.size.definition)
  limit.leases, limit.shares = {}, {}
  for index, tier in ipairs(limit.tiers) do
    put_back(limit, index, part_of(tier, units))
  end
end

-- Takes a gateway's definition with the same tiers into account. Returns whether size or refill changed.
local function hear_size(size, heard, now, live_since)
  local current = size.definition
  local before = {capacity = current.capacity, refill = current.refill, period_ms = current.period_ms}
  size.tiers_ms = now
  if heard.capacity <= before.capacity or size.capacity_ms < live_since then
    current.capacity, size.capacity_ms = heard.capacity, now
  end
  local is_faster = is_less(mul(before.refill, heard.period_ms), mul(heard.refill, before.period_ms))
  if not is_faster or size.refill_ms < live_since then
    current.refill, current.period_ms, size.refill_ms = heard.refill, heard.period_ms, now
  end
  return current.capacity ~= before.capacity or current.refill ~= before.refill or current.period_ms ~= before.period_ms
end

-- Takes a gateway's definition into account. False: live gateways have other tiers.
local function hear_definition(limit, heard)
  local size, now = limit.size, limit.at_ms
  local live_since = math.max(0, now - outlived_ms(limit))
  local scale = scale_of(size)
  local capacity, refill_before = size.definition.capacity, size.definition.refill
  if are_tiers_alike(heard.tiers, size.definition.tiers) then
    if not hear_size(size, heard, now, live_since) then
      return true
    end
    rescale(limit.tiers, scale, scale_of(size))
    if refill_before == 0 and size.definition.refill == 0 then
      -- What has been used of a budget stays used when it is raised or lowered.
      shift(limit.tiers, size.definition.capacity - capacity, size)
    end
  else
    if #limit.shares > 0 or size.tiers_ms >= live_since then
      return false
    end
    local units = divide(total_of(limit.tiers, scale), scale)
    limit.size = new_size(heard, now)
    reshape(limit, most(0, units))
  end
  cap(limit.tiers, limit.size)
  local excess = negate(room_of(limit))
  if is_less(0, excess) then
    cut(limit.tiers, excess, scale_of(limit.size))
  end
  return true
end

-- The invariant: levels and what is outstanding are at most the capacity, or no level is above 0.
local function assert_bound(limit)
  if is_less(room_of(limit), 0) and is_less(0, total_of(limit.tiers, scale_of(limit.size))) then
    error('WEIRBOUND the levels and leases of a limit exceed it')
  end
end
