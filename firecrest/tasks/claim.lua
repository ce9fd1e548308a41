-- Take what is due: move each entry to the end of a new lease.
-- KEYS  1 due list (member -> time of the lease's end or of the next look)
-- ARGV  1 lease (s)   2 how many at most
-- Returns the members taken; of several claimants one gets each. Half of them are those whose time
-- has come last: where more is due than can be looked at, what is new does not wait for the old.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = {}
local function take(found)
  for _, member in ipairs(found) do
    redis.call('ZADD', KEYS[1], now + ARGV[1], member)
    due[#due + 1] = member
  end
end
local newest = math.floor(ARGV[2] / 2)
take(redis.call('ZREVRANGEBYSCORE', KEYS[1], now, '-inf', 'LIMIT', 0, newest))
take(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2] - #due))
return due
