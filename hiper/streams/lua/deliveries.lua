#!lua flags=allow-oom,no-writes
-- How often entries were delivered. KEYS: epoch, stream. ARGV: epoch, group, entries... Returns one number per entry.
--#include fence
local counts = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[i], ARGV[i], 1)[1]
  counts[#counts + 1] = pending and pending[4] or 0
end
return counts
