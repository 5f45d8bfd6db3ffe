#!lua flags=allow-oom
-- P7. Become the learner: nil while another one's lease lives. KEYS: epoch, lease, generation.
-- ARGV: epoch, ttl ms, a generation to be above (that of checkpoints older than this broker's data).
--#include fence
if redis.call('EXISTS', KEYS[2]) == 1 then
  return false
end
local generation = math.max(redis.call('INCR', KEYS[3]), tonumber(ARGV[3]) + 1)
redis.call('SET', KEYS[3], generation)
redis.call('SET', KEYS[2], generation, 'PX', ARGV[2])
return generation
