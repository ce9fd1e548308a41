-- Move a task along one edge.
-- ARGV  9 the writer's fence, '*' for whoever comes   10 expected status
--       11 new status   12 '1' if what the work needs may go
-- Returns the new version, or an error: GONE (expired), FENCED (the writer no longer owns
-- the task), STATE (it is not the expected one; MOVED would be a word of Redis clusters).
local have = redis.call('HMGET', KEYS[1], 'fence', 'status', 'version', 'created')
if not have[1] then return redis.error_reply('GONE') end
if ARGV[9] ~= '*' and have[1] ~= ARGV[9] then return redis.error_reply('FENCED') end
if have[2] ~= ARGV[10] then return redis.error_reply('STATE ' .. have[2]) end
-- who comes in this way shuts the former owner out in the same moment
if ARGV[9] == '*' then redis.call('HINCRBY', KEYS[1], 'fence', 1) end
local version, final = have[3] + 1, ARGV[12] == '1'
redis.call('HSET', KEYS[1], 'status', ARGV[11], 'version', version)
-- it tells how far a state has come
if ARGV[11] ~= ARGV[10] then redis.call('HSET', KEYS[1], 'checkpoint', '') end
if final then redis.call('HDEL', KEYS[1], 'spec', 'blob', 'checkpoint', 'origin') end
record(version, have[2], have[4], final)
return version
