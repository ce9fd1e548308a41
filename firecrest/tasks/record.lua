-- Put between append.lua and create.lua or advance.lua, which share these keys:
-- KEYS  1 work   2 documents   3 ends of life   4 event log   5 marks of the log

-- YYYY-MM-DDTHH:MM:SS in UTC (days to civil date, for years from 1970)
local function iso(seconds)
  local days, rest = math.floor(seconds / 86400), seconds % 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
                          - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d', year, month,
                       doy - math.floor((153 * mp + 2) / 5) + 1,
                       math.floor(rest / 3600), math.floor(rest % 3600 / 60), rest % 60)
end

-- Write the document of a task, log it and ring the owner's bell.
-- head is the JSON text up to the times; log = {length, age (s), largest document, bell}
local function record(id, life, version, previous, head, created, log)
  local stamp = iso(now)
  local stored = string.format('%010d%06d', now + life, version) .. head
    .. '"created_at":"' .. created .. '","updated_at":"' .. stamp
    .. '","last_modify":"' .. stamp .. '"}'
  redis.call('HSET', KEYS[2], id, stored)
  redis.call('ZADD', KEYS[3], now + life, id)
  local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then
    redis.call('HDEL', KEYS[2], unpack(over))
    redis.call('ZREM', KEYS[3], unpack(over))
  end
  redis.call('EXPIRE', KEYS[1], life)
  keep(KEYS[2], life)
  keep(KEYS[3], life)
  local entry = {'id', id, 'previous', previous}
  if #stored <= tonumber(log[3]) then
    entry[5] = 'document'
    entry[6] = stored
  end
  append(KEYS[4], KEYS[5], entry, tonumber(log[1]), tonumber(log[2]), log[4])
end
