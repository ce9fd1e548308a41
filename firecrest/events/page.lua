-- Read a part of an event log, and what is known of what it has lost, in one moment.
-- KEYS  1 event log   2 marks of the log
-- ARGV  1 the id to begin with   2 how many entries at most
-- Returns the last id there ever was, the last that is kept no more, whether the log exists,
-- and the entries; an id that there is none of is nil.
local marks = redis.call('HMGET', KEYS[2], 'last', 'lost')
return {
  marks[1], marks[2], redis.call('EXISTS', KEYS[1]),
  redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]),
}
