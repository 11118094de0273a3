-- How a limit is kept: as the other center writes it, so that both read it. All integers are written in full.
local BUDGET_KEPT_MS, KEPT_BEYOND_MS = 86400000, 60000

local function read_limit(text)
  local limit = cjson.decode(text)
  limit.size.definition.tiers = limit.size.definition.tiers or {}
  for _, lease in ipairs(limit.leases) do
    if lease.returned == cjson.null then
      lease.returned = nil
    end
  end
  return limit
end

local function list(values, write)
  local written = {}
  for index, value in ipairs(values) do
    written[index] = write(value)
  end
  return '[' .. table.concat(written, ',') .. ']'
end

local function quote(text)
  return cjson.encode(text)
end

local function write_definition(definition)
  local tiers = ''
  if #definition.tiers > 0 then
    tiers = ',"tiers":' .. list(definition.tiers, function(tier)
      return string.format('{"name":%s,"percent":%.0f}', quote(tier.name), tier.percent)
    end)
  end
  return string.format('{"capacity":%.0f,"refill":%.0f,"period_ms":%.0f%s}', definition.capacity, definition.refill,
    definition.period_ms, tiers)
end

local function write_size(size)
  return string.format('{"definition":%s,"capacity_ms":%.0f,"refill_ms":%.0f,"tiers_ms":%.0f}',
    write_definition(size.definition), size.capacity_ms, size.refill_ms, size.tiers_ms)
end

local function write_tier(tier)
  return string.format('{"name":%s,"percent":%.0f,"level":{"units":%.0f,"part":%.0f}}', quote(tier.name), tier.percent,
    tier.level.units, tier.level.part)
end

local function write_lease(lease)
  local returned = lease.returned and string.format('%.0f', lease.returned) or 'null'
  local counts = string.format('"number":%.0f,"tier":%.0f,"granted":%.0f,"spent":%.0f,"returned":%s,"began_ms":%.0f',
    lease.number, lease.tier, lease.granted, lease.spent, returned, lease.began_ms)
  return string.format('{"gateway":%s,%s,"expires_ms":%.0f,"largest":%.0f,"wants":%s,"holds":%s}', quote(lease.gateway),
    counts, lease.expires_ms, lease.largest, tostring(lease.wants), tostring(lease.holds))
end

local function write_share(share)
  local last = string.format('[%.0f,%.0f,%.0f]', unpack(share.last))
  return string.format('{"gateway":%s,"tier":%.0f,"sharers":%.0f,"bucket":%.0f,"confirmed_ms":%.0f,"last":%s,' ..
    '"begins_after_ms":%.0f,"ends_ms":%.0f}', quote(share.gateway), share.tier, share.sharers, share.bucket,
    share.confirmed_ms, last, share.begins_after_ms, share.ends_ms)
end

local function write_limit(limit)
  local parts = string.format('"size":%s,"tiers":%s,"at_ms":%.0f,"leases":%s,"shares":%s', write_size(limit.size),
    list(limit.tiers, write_tier), limit.at_ms, list(limit.leases, write_lease), list(limit.shares, write_share))
  local timing = string.format('{"ttl_ms":%.0f,"clock_error_ms":%.0f,"lent_percent":%.0f}', limit.timing.ttl_ms,
    limit.timing.clock_error_ms, limit.timing.lent_percent)
  return string.format('{%s,"unknown":%.0f,"unknown_until_ms":%.0f,"unknown_shares_until_ms":%.0f,"timing":%s}', parts,
    limit.unknown, limit.unknown_until_ms, limit.unknown_shares_until_ms, timing)
end

-- How long a limit is kept that nobody names again: until every lease and share has ended and the refill has filled it, so that a
-- new one says the same. A budget, which never refills, is kept for its period and a day: it is over by then.
local function kept_ms(limit)
  local definition = limit.size.definition
  if definition.refill == 0 then
    return BUDGET_KEPT_MS + definition.period_ms
  end
  local fill = divide_up(mul(definition.capacity, definition.period_ms), definition.refill)
  local debt = 0
  for _, tier in ipairs(limit.tiers) do
    debt = most(debt, negate(tier.level.units))
  end
  local pays = divide_up(mul(mul(debt, definition.period_ms), 100), definition.refill)
  local ends = limit.timing.ttl_ms + limit.timing.clock_error_ms + SHARE_MAX_MS + KEPT_BEYOND_MS
  return least(add(add(fill, pays), 2 * ends), COUNT_MAX)
end
