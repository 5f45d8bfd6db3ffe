#!lua flags=allow-oom
-- P7. Stay the learner. A lease that ran out (a pause, a broker that was away) is taken up again if nobody has become the learner
-- since, which the generation tells. KEYS: epoch, lease, generation. ARGV: epoch, generation, ttl ms. Returns 1, or 0 if lost.
--#include fence
if redis.call('GET', KEYS[3]) ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
