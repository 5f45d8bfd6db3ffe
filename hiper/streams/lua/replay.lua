#!lua flags=allow-oom
-- Put a dead letter back where it came from: the inverse of dead_letter.lua.
-- KEYS: epoch, dlq, stream, counts; for a batch also group, group.dead, groups.due. ARGV: epoch, dead letter, kind, weight, batch.
-- Returns 1, or 0 if it is not there (any more).
--#include fence
local kind = ARGV[3]
local found = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])[1]
if not found then
  return 0
end
redis.call('XDEL', KEYS[2], ARGV[2])
-- `0 - x`, since Redis 7 writes Lua's negative zero as "-0" and refuses to read it.
redis.call('HINCRBY', KEYS[4], 'dead_lettered', 0 - tonumber(ARGV[4]))
if kind == 'task' then
  redis.call('HINCRBY', KEYS[4], 'tasks_dead_lettered', -1)
elseif kind == 'marker' then
  redis.call('HINCRBY', KEYS[4], 'markers', 1)
elseif kind == 'batch' and redis.call('EXISTS', KEYS[6]) == 1 then
  redis.call('RENAME', KEYS[6], KEYS[5])
  redis.call('ZADD', KEYS[7], 'inf', ARGV[5])
end
local fields = {}
for i = 1, #found[2], 2 do
  if string.sub(found[2][i], 1, 3) ~= 'dl.' then
    fields[#fields + 1] = found[2][i]
    fields[#fields + 1] = found[2][i + 1]
  end
end
redis.call('XADD', KEYS[3], '*', unpack(fields))
return 1
