#!lua flags=allow-oom,no-writes
-- The whole pipeline at one instant. KEYS: epoch, dlq, counts, groups.due, tasks, traj.raw, traj.scored, traj.adv, groups...
-- ARGV: epoch, consumer group of each of the four streams, batches, in the order of groups.due. Returns nil if the batches are
-- others by now: every key a script reads must be named by its caller, so the caller looks them up again.
--#include fence
--#include batch
local batches = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
if #batches / 2 ~= #ARGV - 5 then
  return false
end
local members, open = 0, 0
for i = 1, #batches, 2 do
  local n = (i - 1) / 2
  if batches[i] ~= ARGV[6 + n] then
    return false
  end
  members = members + waiting(KEYS[9 + n])
  if batches[i + 1] ~= 'inf' then
    open = open + 1
  end
end
local streams = {}
for i = 0, 3 do
  local pending = redis.call('XPENDING', KEYS[5 + i], ARGV[2 + i])
  streams[#streams + 1] = { redis.call('XLEN', KEYS[5 + i]), pending[1], pending[2] or '' }
end
return { redis.call('TIME'), streams, redis.call('XLEN', KEYS[2]), #batches / 2, open, members, redis.call('HGETALL', KEYS[3]) }
