#!lua flags=allow-oom
-- Acknowledge an entry nothing follows from. KEYS: epoch, stream, counts. ARGV: epoch, group, entry, counters...
-- Returns 1, or 0 if somebody else had done so.
--#include fence
--#include take
if not take(KEYS[2], ARGV[2], ARGV[3], KEYS[3]) then
  return 0
end
for i = 4, #ARGV do
  redis.call('HINCRBY', KEYS[3], ARGV[i], 1)
end
return 1
