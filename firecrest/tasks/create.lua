-- Store a new task, log it and ring the owner's bell, in one step.
-- KEYS  1 task hash   2 owner's index   3 owner's event log
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 bell channel
--       6 number of public fields, then those (name, value, ...), then private ones
-- Returns the time of creation (s); for an id that exists, which happens when the connection
-- repeats a call, that of the first call.
local created = redis.call('HGET', KEYS[1], 'created')
if created then return created end
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local last_public = 6 + 2 * tonumber(ARGV[6])
local public = {unpack(ARGV, 7, last_public)}
for _, word in ipairs({'version', '1', 'created', now, 'updated', now}) do
  public[#public + 1] = word
end
redis.call('HSET', KEYS[1], unpack(public))
redis.call('HSET', KEYS[1], 'fence', '1', unpack(ARGV, last_public + 1))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], time[1] + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], math.max(redis.call('TTL', KEYS[2]), tonumber(ARGV[2])))
local event = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(public))
redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', (time[1] - ARGV[4]) * 1000))
redis.call('EXPIRE', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], event)
return now
