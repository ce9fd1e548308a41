-- Store a new task.
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 largest document logged
--       6 bell channel   7 head of the document   8... fields of the work (name, value, ...)
-- An id that exists is left alone: the connection repeated the call.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local created = iso(now)
redis.call('HSET', KEYS[1], 'version', '1', 'fence', '1', 'created', created, unpack(ARGV, 8))
record(ARGV[1], tonumber(ARGV[2]), 1, '', ARGV[7], created, {ARGV[3], ARGV[4], ARGV[5], ARGV[6]})
return 1
