-- Put in front of every script that writes into an event log.
local clock = redis.call('TIME')
local now = tonumber(clock[1])

local function keep(key, life)
  redis.call('EXPIRE', key, math.max(redis.call('TTL', key), life))
end

-- Add an entry (name, value, ...) to an event log, let go what is over its limits, ring the
-- owner's bell, and return the event's id. The bell tells the event itself, if it is small: the id
-- of the event before, its own, and the entry, joined by NUL.
-- The marks outlive the log: 'last' is the newest id there ever was, 'lost' the newest one
-- that is kept no more. So a reader who was away can be told whether it missed anything.
local function append(log, marks, entry, length, age, bell)
  local last = redis.call('HGET', marks, 'last')
  local id, lost = '*', nil
  if last and redis.call('EXISTS', log) == 0 then
    lost = last  -- the whole log has expired
    local moment, number = string.match(last, '^(%d+)-(%d+)$')
    if now * 1000 + math.floor(clock[2] / 1000) <= tonumber(moment) then
      id = moment .. '-' .. string.format('%.0f', number + 1)  -- ids grow, whatever the clock
    end
  end
  local event = redis.call('XADD', log, id, unpack(entry))
  local kept = redis.call('XLEN', log)
  if kept > length then
    -- one, as a rule; more after the limit was lowered, then step by step
    local over = redis.call('XRANGE', log, '-', '+', 'COUNT', math.min(kept - length, 100))
    lost = over[#over][1]
    redis.call('XTRIM', log, 'MAXLEN', kept - #over)
  end
  -- the number, too: before '(moment' come all events of that moment but the last one possible
  local cut = string.format('%.0f-0', (now - age) * 1000)
  -- XREVRANGE below the first entry would read the whole log, so that one is looked at first
  if #redis.call('XRANGE', log, '-', '(' .. cut, 'COUNT', 1) > 0 then
    lost = redis.call('XREVRANGE', log, '(' .. cut, '-', 'COUNT', 1)[1][1]
    redis.call('XTRIM', log, 'MINID', cut)
  end
  redis.call('EXPIRE', log, age)
  redis.call('HSET', marks, 'last', event)
  if lost then redis.call('HSET', marks, 'lost', lost) end
  redis.call('EXPIRE', marks, math.max(2 * age, 30 * 86400))
  local told = table.concat({last or '', event, unpack(entry)}, '\0')
  redis.call('PUBLISH', bell, #told <= 4096 and told or event)
  return event
end
