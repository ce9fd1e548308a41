-- Store a new task.
-- KEYS  8 receipt of the client's key, or the work again if the client sent none
-- ARGV  9 what is kept as the receipt, or ''   10 life of the receipt (s)
--       11... fields of the work (name, value, ...)
-- Returns nothing; or, if no task is made, the receipt of an earlier request with the same key,
-- or FULL: what is not finished takes as much as may be kept for the user.
-- An id that exists is left alone: the connection repeated the call.
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
if ARGV[9] ~= '' then
  local earlier = redis.call('GET', KEYS[8])
  if earlier then return earlier end
end
local full = exceeded(0)
if redis.call('EXISTS', KEYS[2]) == 0 then  -- nothing is kept: should these have outlived it
  redis.call('DEL', KEYS[6], KEYS[7])
  full = false
end
if full then return 'FULL' end
if ARGV[9] ~= '' then redis.call('SET', KEYS[8], ARGV[9], 'EX', ARGV[10]) end
local created = iso(now)
redis.call('HSET', KEYS[1], 'version', '1', 'fence', '1', 'created', created, unpack(ARGV, 11))
record(1, '', created, false)
return false
