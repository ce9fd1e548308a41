-- Log a change of a job, unless it is known already.
-- KEYS  3 event log   4 its marks
-- ARGV  1 life of a row and of the log (s)   2 lease   3 fence   4 log length   5 bell channel
--       6 system   7 job id   8 state, JSON   9 row of the job, JSON   10 'true' if it is final
-- Returns the event id, nothing if there is no news, or the error FENCED. A final state stays
-- final: who says otherwise speaks of the past. Only UNKNOWN is no knowledge.
if fenced(ARGV[2], ARGV[3]) then return redis.error_reply('FENCED') end
local previous = 'null'
local known = redis.call('HGET', KEYS[1], ARGV[7])
if known then
  local final, _, state = parts(known)
  if state == ARGV[8] and final == ARGV[10] then return false end
  if final == 'true' and state ~= '"UNKNOWN"' then return false end
  previous = state
end
local body = '{"system":"' .. ARGV[6] .. '","jobid":"' .. ARGV[7] .. '","state":' .. ARGV[8]
  .. ',"previous":' .. previous .. ',"job":' .. ARGV[9] .. ',"final":' .. ARGV[10] .. '}'
local life = tonumber(ARGV[1])
local event = append(KEYS[3], KEYS[4], {'system', ARGV[6], 'jobid', ARGV[7], 'job', body},
                     tonumber(ARGV[4]), life, ARGV[5])
redis.call('HSET', KEYS[1], ARGV[7],
           ARGV[10] .. '\n' .. event .. '\n' .. ARGV[8] .. '\n' .. body)
redis.call('ZADD', KEYS[2], now + life, ARGV[7])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
end
keep(KEYS[1], life)
keep(KEYS[2], life)
return event
