-- Reports, draws and shares of one limit: limit.rs, limit/lease.rs and limit/shares.rs. Tiers count from 0 in what is kept.
local LEASES_PER_LIMIT_MAX = 512
local BUDGET_PARTS, BUDGET_LARGEST = 32, 4
local HELD, DRAW, LAPSED, REFUSED = 0, 1, 2, 3

local function empty_limit(definition, now, timing)
  return {
    size = new_size(definition, now), tiers = empty_tiers(definition), at_ms = now, leases = {}, shares = {},
    unknown = 0, unknown_until_ms = 0, unknown_shares_until_ms = 0, timing = timing,
  }
end

-- A limit that a gateway names for the first time in this memory, which began at `lost_ms` if an earlier one was lost: full, or
-- empty while all of it may be out.
local function begin_limit(definition, now, lost_ms, timing)
  if lost_ms == 0 then
    local limit = empty_limit(definition, now, timing)
    for index, tier in ipairs(limit.tiers) do
      put_back(limit, index, part_of(tier, definition.capacity))
    end
    return limit
  end
  local limit = empty_limit(definition, lost_ms, timing)
  limit.unknown, limit.unknown_until_ms = definition.capacity, lost_ms + outlived_ms(limit)
  limit.unknown_shares_until_ms = limit.unknown_until_ms + SHARE_MAX_MS
  return limit
end

-- The lease of a report: known, adopted from an earlier memory, or new. Nil: the gateway must drop it.
local function find_lease(limit, caller, report, tier)
  for _, lease in ipairs(limit.leases) do
    if lease.gateway == caller.gateway and lease.number == report.lease and lease.tier == tier - 1 then
      return lease
    end
  end
  if #limit.leases >= LEASES_PER_LIMIT_MAX then
    return nil
  end
  local lease = {
    gateway = caller.gateway, number = report.lease, tier = tier - 1, granted = 0, spent = report.spent,
    began_ms = limit.at_ms, expires_ms = 0, largest = report.largest, wants = report.want > 0, holds = false,
  }
  if report.epoch ~= 0 or report.granted ~= 0 then
    local held = math.max(0, report.granted - report.spent)
    local is_earlier = report.epoch < caller.epoch and held <= limit.unknown
    if not is_earlier or limit.unknown_until_ms <= limit.at_ms then
      return nil
    end
    lease.granted, limit.unknown = report.granted, limit.unknown - held
  end
  limit.leases[#limit.leases + 1] = lease
  return lease
end

-- Takes a report into account. Returns the units that it newly gives back: the first one after an answer only says where to
-- count from.
local function hear_report(lease, report)
  lease.spent = math.max(lease.spent, report.spent)
  lease.largest, lease.wants = report.largest, report.want > 0
  if report.heard_ms < lease.began_ms then
    return 0
  end
  local before = lease.returned or report.returned
  lease.returned = math.max(before, report.returned)
  return math.max(0, report.returned - before)
end

-- The gateway has applied the answer of `heard_ms`. True: it was promised nothing since.
local function confirm_share(share, heard_ms, now)
  if heard_ms <= now and heard_ms > share.confirmed_ms then
    share.confirmed_ms = heard_ms
  end
  local given_ms, sharers, bucket = unpack(share.last)
  if share.confirmed_ms < given_ms then
    return false
  end
  if sharers > 0 then
    share.sharers, share.bucket = sharers, bucket
  end
  return sharers == 0
end

-- The `N` and the bucket that can be promised to a gateway, whose bucket is set aside; zeros if there is no room.
local function promise(limit, caller, tier, own)
  local left, wanting = PPM, 0
  for _, share in ipairs(limit.shares) do
    if share.tier == tier - 1 and share.gateway ~= caller.gateway then
      left = left - share_ppm(share)
    end
  end
  if left <= 0 or limit.at_ms < limit.unknown_shares_until_ms or limit.size.definition.refill == 0 then
    return 0, 0
  end
  for _, lease in ipairs(limit.leases) do
    if lease.tier == tier - 1 and lease.wants then
      wanting = wanting + 1
    end
  end
  local sharers = math.max(wanting, divide_up(PPM, left), 1)
  local bucket = divide(part_of(limit.tiers[tier], limit.size.definition.capacity), 2 * sharers)
  local before = own and own.bucket or 0
  local scale = scale_of(limit.size)
  local missing = most(0, sub(mul(math.max(0, bucket - before), scale), room_of(limit)))
  missing = divide_up(missing, scale)
  if bucket > 0 and not is_less(available(limit.tiers, tier, limit.size), missing) then
    take(limit.tiers, tier, missing, limit.size)
    return sharers, bucket
  end
  return 0, 0
end

-- How many times a gateway's own definition exceeds its tier's percentage of the one in force, rounded up.
local function times_too_large(size, own, percent)
  local current = size.definition
  local rate = mul(mul(own.refill, current.period_ms), 100)
  rate = divide_up(rate, most(1, mul(mul(current.refill, own.period_ms), percent)))
  local capacity = divide_up(mul(own.capacity, 100), mul(current.capacity, percent))
  return most(1, most(rate, capacity))
end

-- Renews the gateway's share, if it asks for one. Returns its `N`; 0 for none.
local function renew_share(limit, caller, report, tier)
  local shares, place = limit.shares, nil
  local function find()
    for index, share in ipairs(shares) do
      if share.gateway == caller.gateway and share.tier == tier - 1 then
        return index
      end
    end
  end
  place = find()
  if place and confirm_share(shares[place], report.heard_ms, limit.at_ms) then
    shares[place] = shares[#shares]
    shares[#shares] = nil
    place = find()
  end
  local sharers, bucket = 0, 0
  if report.share then
    sharers, bucket = promise(limit, caller, tier, shares[place])
  end
  local timing, now = limit.timing, limit.at_ms
  local begins = math.max(0, timing.ttl_ms - (ANSWER_MAX_MS + timing.clock_error_ms))
  local ends = now + timing.ttl_ms + timing.clock_error_ms + SHARE_MAX_MS
  local share = shares[place]
  if share then
    share.sharers = sharers == 0 and share.sharers or math.min(share.sharers, sharers)
    share.bucket = math.max(share.bucket, bucket)
    share.last = {now, sharers, bucket}
    share.begins_after_ms, share.ends_ms = math.min(share.begins_after_ms, begins), math.max(share.ends_ms, ends)
  elseif sharers > 0 then
    shares[#shares + 1] = {
      gateway = caller.gateway, tier = tier - 1, sharers = sharers, bucket = bucket, confirmed_ms = now,
      last = {now, sharers, bucket}, begins_after_ms = begins, ends_ms = ends,
    }
  end
  return least(COUNT_MAX, mul(sharers, times_too_large(limit.size, report.definition, limit.tiers[tier].percent)))
end

-- Decides whether the lease is one that the limit is divided among. Returns how much it should hold.
local function divide_limit(limit, lease, draws)
  local largest, others
  for _, other in ipairs(limit.leases) do
    if other.tier == lease.tier and other.wants then
      largest = math.max(largest or 0, other.largest)
      others = (others or 0) + ((other.holds and other ~= lease) and 1 or 0)
    end
  end
  largest, others = largest or 1, others or 0
  local capacity = part_of(limit.tiers[lease.tier + 1], limit.size.definition.capacity)
  local lent = divide(mul(capacity, math.min(100, limit.timing.lent_percent)), 100)
  local holders_max = divide(lent, math.max(1, largest))
  lease.holds = lease.wants and (others < holders_max or not draws)
  if not lease.holds then
    return 0
  end
  local target = divide(lent, others + 1)
  if limit.size.definition.refill == 0 then
    -- What a gateway that dies still held of a budget never comes back.
    local little = most((divide(capacity, BUDGET_PARTS * (others + 1))), mul(BUDGET_LARGEST, largest))
    target = least(target, little)
  end
  return math.max(1, target)
end

local function top_up(limit, lease, units)
  local tier = lease.tier + 1
  local missing = most(0, sub(add(lease.spent, units), lease.granted))
  units = least(least(missing, available(limit.tiers, tier, limit.size)), COUNT_MAX - lease.granted)
  lease.granted = lease.granted + units
  take(limit.tiers, tier, units, limit.size)
end

-- Takes a report and tops the lease up. Returns a grant: state, granted, target, level, wait_ms, sharers.
local function report_lease(limit, caller, report, lost)
  if not report.share then
    limit.unknown_shares_until_ms = 0
  end
  advance(limit, caller.now, lost)
  if not hear_definition(limit, report.definition) then
    return {REFUSED, 0, 0, 0, 0, 0}
  end
  local tier = tier_named(limit.tiers, report.tier)
  if not tier then
    return {REFUSED, 0, 0, 0, 0, 0}
  end
  local lease = find_lease(limit, caller, report, tier)
  if not lease then
    return {#limit.leases >= LEASES_PER_LIMIT_MAX and REFUSED or LAPSED, 0, 0, 0, 0, 0}
  end
  local given_back = hear_report(lease, report)
  if report.epoch == caller.epoch and report.granted > lease.granted then
    -- The center went back in time, and pays from its level.
    local more = report.granted - lease.granted
    lease.granted = report.granted
    take(limit.tiers, tier, more, limit.size)
  end
  lease.expires_ms = math.max(lease.expires_ms, limit.at_ms + outlived_ms(limit))
  put_back(limit, tier, given_back)
  local sharers = renew_share(limit, caller, report, tier)
  local target = divide_limit(limit, lease, caller.draws)
  top_up(limit, lease, math.min(report.want, target))
  assert_bound(limit)
  local state = (lease.holds or not lease.wants) and HELD or DRAW
  local level = available(limit.tiers, tier, limit.size)
  local wait = wait_ms(limit.tiers, tier, lease.largest, limit.size)
  return {state, lease.granted, target, level, wait or COUNT_MAX, sharers}
end

-- Draws for one request. Returns whether it could, the milliseconds until there is enough (-1: never), and what is left.
local function draw_units(limit, draw, now, lost)
  advance(limit, now, lost)
  local known = hear_definition(limit, draw.definition)
  local tier = tier_named(limit.tiers, draw.tier)
  local level = tier and available(limit.tiers, tier, limit.size) or 0
  if not (known and tier) then
    return {0, outlived_ms(limit), level}
  end
  if is_less(level, draw.cost) then
    return {0, wait_ms(limit.tiers, tier, draw.cost, limit.size) or -1, level}
  end
  take(limit.tiers, tier, draw.cost, limit.size)
  assert_bound(limit)
  return {1, 0, available(limit.tiers, tier, limit.size)}
end

-- Gives a draw back whose request another limit refused. Returns as `draw_units`.
local function undo_draw(limit, draw)
  local tier = tier_named(limit.tiers, draw.tier)
  if not tier then
    return {0, 0, 0}
  end
  put_back(limit, tier, draw.cost)
  return {1, 0, available(limit.tiers, tier, limit.size)}
end
