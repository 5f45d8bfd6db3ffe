#!lua flags=allow-oom
-- P5. Close a batch whose time is up, with the members it has.
-- KEYS: epoch, group, closed, groups.due, traj.scored. ARGV: epoch, batch, schema version, ttl ms.
-- Returns 1, or 0 if it is not due (any more).
--#include fence
--#include batch
local deadline = redis.call('ZSCORE', KEYS[4], ARGV[2])
local now = redis.call('TIME')
if not deadline or deadline == 'inf' or tonumber(deadline) > now[1] * 1000 + math.floor(now[2] / 1000) then
  return 0
end
close({ hash = KEYS[2], closed = KEYS[3], due = KEYS[4], scored = KEYS[5] }, ARGV[2], ARGV[3], ARGV[4])
return 1
