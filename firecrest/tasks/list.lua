-- All documents of a user, unless they are more than is to be read at once.
-- KEYS  1 documents   2 sizes   3 marks of the log
-- ARGV  1 how many bytes that is
-- Returns the id of the user's newest event, and the documents, or nothing in their place.
local last = redis.call('HGET', KEYS[3], 'last')
if tonumber(redis.call('HGET', KEYS[2], 'all') or 0) > tonumber(ARGV[1]) then return {last} end
return {last, redis.call('HVALS', KEYS[1])}
