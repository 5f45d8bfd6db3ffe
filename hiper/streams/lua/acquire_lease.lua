#!lua flags=allow-oom
-- P7. Become the learner: nil while another one's lease lives. KEYS: epoch, lease, generation. ARGV: epoch, ttl ms.
--#include fence
if redis.call('EXISTS', KEYS[2]) == 1 then
  return false
end
local generation = redis.call('INCR', KEYS[3])
redis.call('SET', KEYS[2], generation, 'PX', ARGV[2])
return generation
