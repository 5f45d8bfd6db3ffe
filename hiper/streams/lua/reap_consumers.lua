#!lua flags=allow-oom
-- Remove consumers that have been gone for long and hold nothing. KEYS: epoch, stream. ARGV: epoch, group, idle ms.
-- Returns their number.
--#include fence
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[2])) do
  local consumer = {}
  for i = 1, #flat, 2 do
    consumer[flat[i]] = flat[i + 1]
  end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[2], consumer.name)
    removed = removed + 1
  end
end
return removed
