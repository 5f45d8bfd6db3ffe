#!lua flags=allow-oom
-- Issue tasks of one batch; ids issued before are passed over.
-- KEYS: epoch, tasks, issued, counts. ARGV: epoch, then per task: id, number of strings, field, value, ...
-- Returns the number of tasks added.
--#include fence
local added, i = 0, 2
while i <= #ARGV do
  local last = i + 1 + tonumber(ARGV[i + 1])
  if redis.call('SADD', KEYS[3], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], '*', unpack(ARGV, i + 2, last))
    added = added + 1
  end
  i = last + 1
end
redis.call('HINCRBY', KEYS[4], 'tasks_issued', added)
return added
