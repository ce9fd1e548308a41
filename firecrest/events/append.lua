-- Put in front of every script that writes into an event log.
local clock = redis.call('TIME')
local now = tonumber(clock[1])

local function keep(key, life)
  redis.call('EXPIRE', key, math.max(redis.call('TTL', key), life))
end

-- Log an entry (name, value, ...), ring the owner's bell and return the event's id.
local function append(key, entry, length, age, bell)
  local event = redis.call('XADD', key, 'MAXLEN', '~', length, '*', unpack(entry))
  redis.call('XTRIM', key, 'MINID', '~', string.format('%.0f', (now - age) * 1000))
  redis.call('EXPIRE', key, age)
  redis.call('PUBLISH', bell, event)
  return event
end
