-- Put between append.lua and job_look.lua or job_record.lua, which share these keys:
-- KEYS  1 last rows of the jobs of one user on one system   2 ends of their lives
-- A row is <true|false: final> <event id> <state, JSON> <event, JSON>, a line each. Two more
-- fields say who wrote last: lease and fence.

-- Whether a writer has lost its lease to one that has begun meanwhile; else it is noted.
local function fenced(lease, fence)
  local have = redis.call('HMGET', KEYS[1], 'lease', 'fence')
  if have[1] == lease and tonumber(have[2]) > tonumber(fence) then return true end
  redis.call('HSET', KEYS[1], 'lease', lease, 'fence', fence)
  return false
end

local function parts(row)
  return string.match(row, '^(%l+)\n([^\n]*)\n([^\n]*)\n')
end
