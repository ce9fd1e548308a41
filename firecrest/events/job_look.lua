-- What is known of jobs; their rows live on.
-- ARGV  1 life of a row (s)   2 lease, '' for a reader   3 fence   4... job ids
-- A reader is somebody who begins to watch: what nobody knew is asked for again.
-- Returns the rows in the order of the ids, or the error FENCED.
if ARGV[2] ~= '' and fenced(ARGV[2], ARGV[3]) then return redis.error_reply('FENCED') end
local rows = {}
for i = 4, #ARGV do
  local row = redis.call('HGET', KEYS[1], ARGV[i])
  if row and ARGV[2] == '' then
    local final, _, state = parts(row)
    if final == 'true' and state == '"UNKNOWN"' then
      redis.call('HDEL', KEYS[1], ARGV[i])
      redis.call('ZREM', KEYS[2], ARGV[i])
      row = false
    end
  end
  if row then redis.call('ZADD', KEYS[2], now + ARGV[1], ARGV[i]) end
  rows[#rows + 1] = row
end
for _, key in ipairs(KEYS) do keep(key, tonumber(ARGV[1])) end
return rows
