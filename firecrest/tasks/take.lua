-- Become the owner of a task: every earlier writer is refused from now on.
-- KEYS  1 work   2 documents
-- ARGV  1 task id   2... names of fields of the work
-- Returns the document, then those fields, with the new fence; nothing if the task is gone.
local document = redis.call('HGET', KEYS[2], ARGV[1])
if not document or redis.call('EXISTS', KEYS[1]) == 0 then return {} end
redis.call('HINCRBY', KEYS[1], 'fence', 1)
local work = redis.call('HMGET', KEYS[1], unpack(ARGV, 2))
table.insert(work, 1, document)
return work
