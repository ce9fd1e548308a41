-- Move a task along one edge.
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 largest document logged
--       6 bell channel   7 head of the document   8 the writer's fence, '*' for whoever comes
--       9 expected status
--       10 new status   11 '1' if what the work needs may go
-- Returns the new version, or an error: GONE (expired), FENCED (the writer no longer owns
-- the task), STATE (it is not the expected one; MOVED would be a word of Redis clusters).
local have = redis.call('HMGET', KEYS[1], 'fence', 'status', 'version', 'created')
if not have[1] then return redis.error_reply('GONE') end
if ARGV[8] ~= '*' and have[1] ~= ARGV[8] then return redis.error_reply('FENCED') end
if have[2] ~= ARGV[9] then return redis.error_reply('STATE ' .. have[2]) end
-- who comes in this way shuts the former owner out in the same moment
if ARGV[8] == '*' then redis.call('HINCRBY', KEYS[1], 'fence', 1) end
local version = have[3] + 1
redis.call('HSET', KEYS[1], 'status', ARGV[10], 'version', version)
-- it tells how far a state has come
if ARGV[10] ~= ARGV[9] then redis.call('HSET', KEYS[1], 'checkpoint', '') end
if ARGV[11] == '1' then redis.call('HDEL', KEYS[1], 'spec', 'blob', 'checkpoint', 'origin') end
record(ARGV[1], tonumber(ARGV[2]), version, have[2], ARGV[7], have[4],
       {ARGV[3], ARGV[4], ARGV[5], ARGV[6]})
return version
