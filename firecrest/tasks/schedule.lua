-- Set when a task is to be looked at (again).
-- KEYS  1 due list
-- ARGV  1 member   2 seconds from now   3 'NEW' to add it, 'XX' only if it is listed
local time = redis.call('TIME')
local at = time[1] + time[2] / 1000000 + ARGV[2]
if ARGV[3] == 'XX' then return redis.call('ZADD', KEYS[1], 'XX', at, ARGV[1]) end
return redis.call('ZADD', KEYS[1], at, ARGV[1])
