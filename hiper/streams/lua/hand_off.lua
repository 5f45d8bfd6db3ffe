#!lua flags=allow-oom
-- P4. Hand a whole batch from traj.scored to traj.adv.
-- KEYS: epoch, traj.scored, traj.adv, group, groups.due, counts, issued.
-- ARGV: epoch, group, entry, batch, ttl ms, members carried on, members dropped, drop counters..., then per entry: number of
-- strings, field, value, ... A batch without members is handed on as one marker entry. Returns 1, or 0 if fenced.
--#include fence
--#include take
--#include batch
local carried, dropped = tonumber(ARGV[6]), tonumber(ARGV[7])
if redis.call('EXISTS', KEYS[4]) == 1 and waiting(KEYS[4]) ~= carried + dropped then
  return redis.error_reply('MEMBERS the batch has ' .. waiting(KEYS[4]) .. ' members, not ' .. carried + dropped)
end
if not take(KEYS[2], ARGV[2], ARGV[3], KEYS[6]) then
  return 0
end
for i = 8, 7 + dropped do
  redis.call('HINCRBY', KEYS[6], ARGV[i], 1)
end
local i = 8 + dropped
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  redis.call('XADD', KEYS[3], '*', unpack(ARGV, i + 1, last))
  i = last + 1
end
if carried == 0 then
  redis.call('HINCRBY', KEYS[6], 'markers', 1)
end
redis.call('UNLINK', KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[4])
redis.call('PEXPIRE', KEYS[7], ARGV[5])
return 1
