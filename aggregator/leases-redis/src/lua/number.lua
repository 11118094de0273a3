-- Exact integers. Lua's numbers are doubles, exact below 2^53. A greater integer is a table: its digits to the base 10^7, the lowest
-- first, and its sign. Every function takes both kinds, and returns a number wherever one is exact; never the double -0, which would be
-- written as no integer is.
local BASE, EXACT = 1e7, 9007199254740992

local function digits(n)
  local result = {sign = n < 0 and -1 or 1}
  n = math.abs(n)
  while n > 0 do
    local low = math.fmod(n, BASE)
    result[#result + 1] = low
    n = (n - low) / BASE
  end
  return result
end

local function wide(n)
  return type(n) == 'table' and n or digits(n)
end

-- Drops leading zeros, and returns a number if one is exact.
local function narrow(n)
  while n[#n] == 0 do
    n[#n] = nil
  end
  if #n > 3 then
    return n
  end
  local value = ((n[3] or 0) * BASE + (n[2] or 0)) * BASE + (n[1] or 0)
  if value < EXACT then
    return n.sign * value + 0
  end
  return n
end

-- Compares absolute values: below 0, 0, or above.
local function compare_digits(a, b)
  if #a ~= #b then
    return #a - #b
  end
  for place = #a, 1, -1 do
    if a[place] ~= b[place] then
      return a[place] - b[place]
    end
  end
  return 0
end

local function add_digits(a, b)
  local sum, carry = {sign = a.sign}, 0
  for place = 1, math.max(#a, #b) do
    local digit = (a[place] or 0) + (b[place] or 0) + carry
    carry = digit >= BASE and 1 or 0
    sum[place] = digit - carry * BASE
  end
  if carry > 0 then
    sum[#sum + 1] = carry
  end
  return sum
end

-- `a - b` of absolute values, `a` being the greater one.
local function subtract_digits(a, b)
  local rest, borrow = {sign = a.sign}, 0
  for place = 1, #a do
    local digit = a[place] - (b[place] or 0) - borrow
    borrow = digit < 0 and 1 or 0
    rest[place] = digit + borrow * BASE
  end
  while rest[#rest] == 0 do
    rest[#rest] = nil
  end
  return rest
end

local function negate(n)
  if type(n) == 'number' then
    return 0 - n
  end
  local result = {sign = -n.sign}
  for place = 1, #n do
    result[place] = n[place]
  end
  return result
end

local function add(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    local sum = a + b
    if sum < EXACT and sum > -EXACT then
      return sum
    end
  end
  a, b = wide(a), wide(b)
  if a.sign == b.sign then
    return narrow(add_digits(a, b))
  end
  if compare_digits(a, b) >= 0 then
    return narrow(subtract_digits(a, b))
  end
  return narrow(subtract_digits(b, a))
end

local function sub(a, b)
  return add(a, negate(b))
end

local function mul(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    local product = a * b + 0
    if product < EXACT and product > -EXACT then
      return product
    end
  end
  a, b = wide(a), wide(b)
  local product = {sign = a.sign * b.sign}
  for place = 1, #a + #b do
    product[place] = 0
  end
  for i = 1, #a do
    local carry = 0
    for j = 1, #b do
      local digit = product[i + j - 1] + a[i] * b[j] + carry
      local low = math.fmod(digit, BASE)
      carry = (digit - low) / BASE
      product[i + j - 1] = low
    end
    product[i + #b] = product[i + #b] + carry
  end
  return narrow(product)
end

-- The nearest double of an absolute value.
local function about(n)
  local value = 0
  for place = #n, 1, -1 do
    value = value * BASE + n[place]
  end
  return value
end

-- Long division of absolute values. A digit of the quotient is estimated in doubles, and then at most 1 off.
local function divide_digits(a, b)
  local quotient, rest, size = {sign = 1}, {sign = 1}, about(b)
  for place = #a, 1, -1 do
    table.insert(rest, 1, a[place])
    while rest[#rest] == 0 do
      rest[#rest] = nil
    end
    local digit = math.floor(about(rest) / size)
    local taken = wide(mul({sign = 1, unpack(b)}, digit))
    while compare_digits(taken, rest) > 0 do
      digit, taken = digit - 1, subtract_digits(taken, b)
    end
    rest = subtract_digits(rest, taken)
    while compare_digits(rest, b) >= 0 do
      digit, rest = digit + 1, subtract_digits(rest, b)
    end
    quotient[place] = digit
  end
  return narrow(quotient), narrow(rest)
end

-- Quotient rounded down, and remainder, of a division by more than 0.
local function divide(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    local rest = math.fmod(a, b) + 0
    local quotient = (a - rest) / b + 0
    if rest < 0 then
      return quotient - 1, rest + b
    end
    return quotient, rest
  end
  local below = wide(a).sign < 0
  local quotient, rest = divide_digits(wide(a), wide(b))
  if not below then
    return quotient, rest
  end
  if rest == 0 then
    return negate(quotient), 0
  end
  return sub(negate(quotient), 1), sub(b, rest)
end

local function divide_up(a, b)
  local quotient, rest = divide(a, b)
  return rest == 0 and quotient or add(quotient, 1)
end

local function is_less(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    return a < b
  end
  local difference = sub(a, b)
  if type(difference) == 'number' then
    return difference < 0
  end
  return difference.sign < 0
end

local function least(a, b)
  return is_less(b, a) and b or a
end

local function most(a, b)
  return is_less(a, b) and b or a
end
