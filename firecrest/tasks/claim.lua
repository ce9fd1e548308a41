-- Take what is due: move each entry to the end of a new lease.
-- KEYS  1 due list (member -> time of the lease's end or of the next look)
-- ARGV  1 lease (s)   2 how many at most
-- Returns the members taken; of several claimants one gets each.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], now + ARGV[1], member) end
return due
