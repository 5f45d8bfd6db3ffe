#!lua flags=allow-oom
-- Set the idle time of entries that are still the caller's own; never takes one from another consumer.
-- KEYS: epoch, stream. ARGV: epoch, group, consumer, idle ms, deliveries to forgive, entries... Returns the entries still owned.
--#include fence
local owned = {}
for i = 6, #ARGV do
  local pending = redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[i], ARGV[i], 1, ARGV[3])[1]
  if pending then
    local deliveries = math.max(0, pending[4] - tonumber(ARGV[5]))
    redis.call('XCLAIM', KEYS[2], ARGV[2], ARGV[3], 0, ARGV[i], 'IDLE', ARGV[4], 'RETRYCOUNT', deliveries, 'JUSTID')
    owned[#owned + 1] = ARGV[i]
  end
end
return owned
