#!lua flags=allow-oom
-- P6. Move an entry to the dead letters. A batch goes with its members: its hash is set aside under another name.
-- KEYS: epoch, stream, dlq, counts; for a batch also group, group.dead, groups.due.
-- ARGV: epoch, group, entry, kind (task, trajectory, batch, marker), batch, stream name, error, deliveries.
-- Returns 1, or 0 if somebody else had taken the entry.
--#include fence
--#include take
--#include batch
local kind = ARGV[4]
local found = redis.call('XRANGE', KEYS[2], ARGV[3], ARGV[3])[1]
if not take(KEYS[2], ARGV[2], ARGV[3], KEYS[4]) then
  return 0
end
if not found then
  return 0
end
local weight = 0
if kind == 'trajectory' then
  weight = 1
elseif kind == 'task' then
  redis.call('HINCRBY', KEYS[4], 'tasks_dead_lettered', 1)
elseif kind == 'marker' then
  redis.call('HINCRBY', KEYS[4], 'markers', -1)
elseif redis.call('EXISTS', KEYS[5]) == 1 then
  weight = waiting(KEYS[5])
  redis.call('RENAME', KEYS[5], KEYS[6])
  redis.call('ZREM', KEYS[7], ARGV[5])
end
redis.call('HINCRBY', KEYS[4], 'dead_lettered', weight)
redis.call('XADD', KEYS[3], '*', 'dl.stream', ARGV[6], 'dl.entry', ARGV[3], 'dl.group', ARGV[2], 'dl.kind', kind,
  'dl.weight', weight, 'dl.error', ARGV[7], 'dl.deliveries', ARGV[8], unpack(found[2]))
return 1
