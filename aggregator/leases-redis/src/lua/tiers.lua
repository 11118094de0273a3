-- Levels and tiers: limit/level.rs, limit/size.rs and limit/tiers.rs. An amount is counted in fractions, `scale` of which make a unit.
local PPM, COUNT_MAX = 1e6, EXACT - 1

local function scale_of(size)
  return size.definition.period_ms * 100
end

local function fractions(level, scale)
  return add(mul(level.units, scale), level.part)
end

local function level_of(amount, scale)
  local units, part = divide(amount, scale)
  return {units = most(-COUNT_MAX, least(units, COUNT_MAX)), part = part}
end

-- Tiers whose levels are 0. What no tier reserves has no name.
local function empty_tiers(definition)
  local tiers, rest = {}, 100
  for _, tier in ipairs(definition.tiers) do
    tiers[#tiers + 1] = {name = tier.name, percent = tier.percent, level = {units = 0, part = 0}}
    rest = rest - tier.percent
  end
  if rest > 0 then
    tiers[#tiers + 1] = {name = '', percent = rest, level = {units = 0, part = 0}}
  end
  return tiers
end

local function tier_named(tiers, name)
  for index, tier in ipairs(tiers) do
    if tier.name == (name or '') then
      return index
    end
  end
end

local function part_of(tier, units)
  return (divide(mul(units, tier.percent), 100))
end

local function total_of(tiers, scale)
  local total = 0
  for _, tier in ipairs(tiers) do
    total = add(total, fractions(tier.level, scale))
  end
  return total
end

local function full(tier, size)
  return mul(mul(size.definition.capacity, size.definition.period_ms), tier.percent)
end

-- Whole units that others may have.
local function lends(tier, size)
  local scale, kept = scale_of(size), 0
  if tier.name ~= '' then
    kept = divide(full(tier, size), 2)
  end
  return (divide(most(sub(fractions(tier.level, scale), kept), 0), scale))
end

local function lent_by_others(tiers, index, size)
  local lent = 0
  for other, tier in ipairs(tiers) do
    if other ~= index then
      lent = add(lent, lends(tier, size))
    end
  end
  return lent
end

local function available(tiers, index, size)
  return most(0, add(tiers[index].level.units, lent_by_others(tiers, index, size)))
end

local function draw_level(tier, units, size)
  local scale = scale_of(size)
  tier.level = level_of(sub(fractions(tier.level, scale), mul(units, scale)), scale)
end

local function take(tiers, index, units, size)
  local missing = units
  local own = most(0, least(tiers[index].level.units, missing))
  draw_level(tiers[index], own, size)
  missing = sub(missing, own)
  for other, tier in ipairs(tiers) do
    if other ~= index then
      local lent = least(lends(tier, size), missing)
      draw_level(tier, lent, size)
      missing = sub(missing, lent)
    end
  end
  draw_level(tiers[index], missing, size)
end

local function put(tiers, index, units, size, room)
  local scale = scale_of(size)
  local rest = least(mul(units, scale), most(room, 0))
  local function fill(tier)
    local held = fractions(tier.level, scale)
    local space = most(0, least(sub(full(tier, size), held), rest))
    tier.level = level_of(add(held, space), scale)
    rest = sub(rest, space)
  end
  fill(tiers[index])
  for other, tier in ipairs(tiers) do
    if other ~= index then
      fill(tier)
    end
  end
end

local function cut(tiers, excess, scale)
  for index = #tiers, 1, -1 do
    local held = fractions(tiers[index].level, scale)
    local gone = most(0, least(excess, held))
    tiers[index].level = level_of(sub(held, gone), scale)
    excess = sub(excess, gone)
  end
end

local function rescale(tiers, from, to)
  for _, tier in ipairs(tiers) do
    local whole, part = divide(fractions(tier.level, from), from)
    tier.level = level_of(add(mul(whole, to), (divide(mul(part, to), from))), to)
  end
end

local function cap(tiers, size)
  local scale = scale_of(size)
  for _, tier in ipairs(tiers) do
    tier.level = level_of(least(fractions(tier.level, scale), full(tier, size)), scale)
  end
end

-- `part` of `whole` of an amount, rounded down; in millionths, as the other center does.
local function proportion(amount, part, whole)
  if not is_less(amount, whole) and not is_less(whole, amount) then
    return part
  end
  local ppm = divide(mul(part, PPM), most(whole, 1))
  if not is_less(ppm, PPM) then
    return least(amount, part)
  end
  return mul((divide(amount, PPM)), ppm)
end

-- Adds `by` milliseconds of refill to each tier, less the millionths that `paused(index)` tells, and at most `room` in all.
local function refill_tiers(tiers, size, by, paused, room)
  local scale, definition, credits, sum = scale_of(size), size.definition, {}, 0
  for index, tier in ipairs(tiers) do
    local gain = mul(mul(by, definition.refill), tier.percent)
    local stopped = math.min(paused(index), PPM)
    if stopped > 0 then
      gain = divide(mul(gain, PPM - stopped), PPM)
    end
    credits[index] = most(0, least(gain, sub(full(tier, size), fractions(tier.level, scale))))
    sum = add(sum, credits[index])
  end
  local is_tight = is_less(room, sum)
  for index, tier in ipairs(tiers) do
    local credit = credits[index]
    if is_tight then
      credit = proportion(credit, most(room, 0), sum)
    end
    tier.level = level_of(add(fractions(tier.level, scale), credit), scale)
  end
end

-- Changes what is left of the first tier by whole units; it may become a debt.
local function shift(tiers, more, size)
  local scale = scale_of(size)
  tiers[1].level = level_of(add(fractions(tiers[1].level, scale), mul(more, scale)), scale)
end

-- More than all tiers together can hold, in fractions.
local UNBOUNDED = mul(mul(COUNT_MAX, COUNT_MAX), COUNT_MAX)

-- Whole units that a tier has after that time, if nobody draws.
local function available_after(tiers, index, size, ms)
  local later = {}
  for place, tier in ipairs(tiers) do
    later[place] = {name = tier.name, percent = tier.percent, level = tier.level}
  end
  refill_tiers(later, size, ms, function() return 0 end, UNBOUNDED)
  return available(later, index, size)
end

-- Milliseconds until every tier is full, if nobody draws.
local function full_ms(tiers, size)
  local longest = 0
  for _, tier in ipairs(tiers) do
    local missing = most(0, sub(full(tier, size), fractions(tier.level, scale_of(size))))
    longest = most(longest, divide_up(missing, mul(size.definition.refill, tier.percent)))
  end
  return least(longest, COUNT_MAX)
end

-- Milliseconds until a tier has `units`, if nobody draws; nil if never.
local function wait_ms(tiers, index, units, size)
  local definition = size.definition
  if not is_less(available(tiers, index, size), units) then
    return 0
  end
  if definition.refill == 0 then
    return nil
  end
  if #tiers == 1 then
    if definition.capacity < units then
      return nil
    end
    local scale = scale_of(size)
    local missing = most(0, sub(mul(units, scale), total_of(tiers, scale)))
    local wait = divide_up(missing, mul(definition.refill, 100))
    return is_less(wait, COUNT_MAX) and wait or nil
  end
  -- What others lend grows, too, so the amount is no straight line; but it never falls.
  local too_early, enough = 0, full_ms(tiers, size)
  if is_less(available_after(tiers, index, size, enough), units) then
    return nil
  end
  while enough - too_early > 1 do
    local middle = too_early + math.floor((enough - too_early) / 2)
    if is_less(available_after(tiers, index, size, middle), units) then
      too_early = middle
    else
      enough = middle
    end
  end
  return enough < COUNT_MAX and enough or nil
end
