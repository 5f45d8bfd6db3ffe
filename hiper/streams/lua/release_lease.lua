#!lua flags=allow-oom
-- Stop being the learner, so that the next one need not wait. KEYS: epoch, lease. ARGV: epoch, generation.
--#include fence
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
return redis.call('DEL', KEYS[2])
