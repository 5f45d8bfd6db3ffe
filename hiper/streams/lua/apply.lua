#!lua flags=allow-oom
-- P8.6. Acknowledge what is in a checkpoint, unless a newer learner has taken over.
-- KEYS: epoch, traj.adv, counts, learner.gen. ARGV: epoch, group, generation, then per entry: entry, counter, increment.
-- Returns the number of entries acknowledged now, -1 if fenced.
--#include fence
if redis.call('GET', KEYS[4]) ~= ARGV[3] then
  return -1
end
local acked = 0
for i = 4, #ARGV, 3 do
  if redis.call('XACK', KEYS[2], ARGV[2], ARGV[i]) == 1 then
    redis.call('XDEL', KEYS[2], ARGV[i])
    redis.call('HINCRBY', KEYS[3], ARGV[i + 1], ARGV[i + 2])
    acked = acked + 1
  end
end
return acked
