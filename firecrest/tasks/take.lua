-- Become the owner of a task: every earlier writer is refused from now on.
-- KEYS  1 task hash
-- Returns all fields of the task with its new fence, or an empty array if it is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
redis.call('HINCRBY', KEYS[1], 'fence', 1)
return redis.call('HGETALL', KEYS[1])
