-- Store a new task.
-- KEYS  6 receipt of the client's key, or the work again if the client sent none
-- ARGV  1 task id   2 life (s)   3 log length   4 log age (s)   5 largest document logged
--       6 bell channel   7 head of the document   8 what is kept as the receipt, or ''
--       9 life of the receipt (s)   10... fields of the work (name, value, ...)
-- Returns nothing, or the receipt of an earlier request with the same key; no task is made then.
-- An id that exists is left alone: the connection repeated the call.
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
if ARGV[8] ~= '' then
  local earlier = redis.call('GET', KEYS[6])
  if earlier then return earlier end
  redis.call('SET', KEYS[6], ARGV[8], 'EX', ARGV[9])
end
local created = iso(now)
redis.call('HSET', KEYS[1], 'version', '1', 'fence', '1', 'created', created, unpack(ARGV, 10))
record(ARGV[1], tonumber(ARGV[2]), 1, '', ARGV[7], created, {ARGV[3], ARGV[4], ARGV[5], ARGV[6]})
return false
