-- Say that a replica is interested in jobs, and take or renew the watcher's lease if it is free.
-- KEYS  1 interest (member -> its end)   2 lease   3 fence, raised by each taker
-- ARGV  1 replica   2 lease (ms)   3 life of the fence (s)   4... members
-- Returns the fence, or 0 if another replica watches; then how many members are new.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends = now + ARGV[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local new = 0
for i = 4, #ARGV do new = new + redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {0, new} end
if not holder then
  -- the time, so that fences go on rising when Redis has lost its data and a replica has not
  local fence = math.max(tonumber(redis.call('GET', KEYS[3]) or 0) + 1, now)
  redis.call('SET', KEYS[3], string.format('%.0f', fence))
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return {tonumber(redis.call('GET', KEYS[3])), new}
