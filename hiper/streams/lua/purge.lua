#!lua flags=allow-oom
-- Throw a dead letter away and count what it stood for. KEYS: epoch, dlq, counts; for a batch also group.dead.
-- ARGV: epoch, dead letter, weight. Returns 1, or 0 if it is not there (any more).
--#include fence
if redis.call('XDEL', KEYS[2], ARGV[2]) == 0 then
  return 0
end
-- `0 - x`: see replay.lua.
redis.call('HINCRBY', KEYS[3], 'dead_lettered', 0 - tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[3], 'dropped:purged', ARGV[3])
if KEYS[4] then
  redis.call('UNLINK', KEYS[4])
end
return 1
