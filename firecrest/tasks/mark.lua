-- Record how far the owner has come inside a state.
-- KEYS  1 work
-- ARGV  1 the writer's fence   2 checkpoint
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then return redis.error_reply('GONE') end
if fence ~= ARGV[1] then return redis.error_reply('FENCED') end
redis.call('HSET', KEYS[1], 'checkpoint', ARGV[2])
return 1
