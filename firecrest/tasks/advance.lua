-- Move a task along one edge, log it and ring the owner's bell, in one step.
-- KEYS  1 task hash   2 owner's index   3 owner's event log
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 bell channel
--       6 the writer's fence   7 expected status   8 new status   9 data (JSON)
--       10 '1' if the private part may go   11 largest data kept in the log (bytes)
-- Returns the new version and time, or an error: GONE (expired), FENCED (the writer no
-- longer owns the task), MOVED (the status is not the expected one).
local have = redis.call('HMGET', KEYS[1], 'fence', 'status', 'version')
if not have[1] then return redis.error_reply('GONE') end
if have[1] ~= ARGV[6] then return redis.error_reply('FENCED') end
if have[2] ~= ARGV[7] then return redis.error_reply('MOVED ' .. have[2]) end
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local version = tostring(have[3] + 1)
redis.call('HSET', KEYS[1], 'status', ARGV[8], 'previous', have[2], 'data', ARGV[9],
           'version', version, 'updated', now)
if ARGV[10] == '1' then redis.call('HDEL', KEYS[1], 'spec', 'blob', 'checkpoint') end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], time[1] + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], math.max(redis.call('TTL', KEYS[2]), tonumber(ARGV[2])))
local fields = {'id', 'user', 'kind', 'system', 'status', 'previous', 'version', 'created',
                'updated'}
if #ARGV[9] <= tonumber(ARGV[11]) then fields[#fields + 1] = 'data' end
local values = redis.call('HMGET', KEYS[1], unpack(fields))
local entry = {}
for i, name in ipairs(fields) do
  entry[#entry + 1] = name
  entry[#entry + 1] = values[i]
end
local event = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(entry))
redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', (time[1] - ARGV[4]) * 1000))
redis.call('EXPIRE', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], event)
return {version, now}
