-- Put between append.lua and create.lua or advance.lua, which share these keys and arguments:
-- KEYS  1 work   2 documents   3 ends of life of unfinished tasks   4 event log
--       5 marks of the log   6 sizes   7 ends of life of finished tasks
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 largest document logged
--       6 bell channel   7 head of the document: the JSON text up to the times
--       8 bytes that may be kept for the user

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

-- Let tasks go, and tell how many bytes they took.
local function drop(ids)
  local bytes = 0
  if #ids > 0 then
    for _, size in ipairs(redis.call('HMGET', KEYS[6], unpack(ids))) do
      bytes = bytes + (size or 0)
    end
    redis.call('HDEL', KEYS[2], unpack(ids))
    redis.call('ZREM', KEYS[3], unpack(ids))
    redis.call('HDEL', KEYS[6], unpack(ids))
    redis.call('ZREM', KEYS[7], unpack(ids))
  end
  return bytes
end

-- Count bytes more. Tasks whose life is over go and, while the user has too much, those that are
-- finished and would go first. Returns whether it is too much still.
local function exceeded(more)
  local bytes, gone = redis.call('HINCRBY', KEYS[6], 'all', more), 0
  for _, ends in ipairs({KEYS[3], KEYS[7]}) do
    gone = gone + drop(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100))
  end
  for _ = 1, 1000 do
    if bytes - gone <= tonumber(ARGV[8]) then break end
    local first = redis.call('ZRANGE', KEYS[7], 0, 0)
    if #first == 0 then break end
    gone = gone + drop(first)
  end
  if gone > 0 then bytes = redis.call('HINCRBY', KEYS[6], 'all', -gone) end
  return bytes > tonumber(ARGV[8])
end

-- Write the document of the task, log it and ring the owner's bell.
local function record(version, previous, created, final)
  local id, life = ARGV[1], tonumber(ARGV[2])
  local stamp = iso(now)
  local stored = string.format('%010d%06d', now + life, version) .. ARGV[7]
    .. '"created_at":"' .. created .. '","updated_at":"' .. stamp
    .. '","last_modify":"' .. stamp .. '"}'
  local before = redis.call('HGET', KEYS[6], id) or 0
  local size = #stored + redis.call('HSTRLEN', KEYS[1], 'blob')
  redis.call('HSET', KEYS[2], id, stored)
  redis.call('HSET', KEYS[6], id, size)
  if final then
    redis.call('ZREM', KEYS[3], id)
    redis.call('ZREM', KEYS[7], id)  -- so that it is not one of those that go
  end
  exceeded(size - before)
  -- to the microsecond, so that the oldest goes first
  redis.call('ZADD', final and KEYS[7] or KEYS[3], now + life + clock[2] / 1000000, id)
  redis.call('EXPIRE', KEYS[1], life)
  for _, key in ipairs({KEYS[2], KEYS[3], KEYS[6], KEYS[7]}) do keep(key, life) end
  local entry = {'id', id, 'previous', previous}
  if #stored <= tonumber(ARGV[5]) then
    entry[5] = 'document'
    entry[6] = stored
  end
  append(KEYS[4], KEYS[5], entry, tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6])
end
