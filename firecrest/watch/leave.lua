-- A replica is no longer interested in some jobs; with the last it gives up the lease.
-- KEYS  1 interest   2 lease
-- ARGV  1 replica   2 '1' if it watches nothing any more   3... members
-- Returns whether others stay behind without a watcher.
for i = 3, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if ARGV[2] ~= '1' or redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
return redis.call('EXISTS', KEYS[1])
