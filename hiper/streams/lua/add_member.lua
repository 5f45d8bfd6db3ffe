#!lua flags=allow-oom
-- P3. Move a trajectory from traj.raw into its batch; the last member closes the batch.
-- KEYS: epoch, traj.raw, group, closed, groups.due, traj.scored, counts.
-- ARGV: epoch, group, entry, trajectory id, payload (empty: abandoned), batch, size, BatchReady without members, schema version,
-- group timeout ms, ttl ms. Returns added, completed, late or fenced.
--#include fence
--#include take
--#include batch
if not take(KEYS[2], ARGV[2], ARGV[3], KEYS[7]) then
  return 'fenced'
end
local hash, id, payload, batch, size = KEYS[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('HINCRBY', KEYS[7], 'dropped:late', 1)
  return 'late'
end
if redis.call('HEXISTS', hash, id) == 1 then
  -- Published twice, the second time after its dedup key had expired: one publish, recognised late.
  redis.call('HINCRBY', KEYS[7], 'published', -1)
  redis.call('HINCRBY', KEYS[7], 'deduplicated', 1)
  return 'fenced'
end
if redis.call('EXISTS', hash) == 0 then
  local now = redis.call('TIME')
  redis.call('HSET', hash, '#size', size, '#abandoned', 0, '#ready', ARGV[8])
  redis.call('ZADD', KEYS[5], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[10], batch)
end
redis.call('HSET', hash, id, payload)
if payload == '' then
  redis.call('HINCRBY', hash, '#abandoned', 1)
  redis.call('HINCRBY', KEYS[7], 'dropped:abandoned', 1)
end
if redis.call('HLEN', hash) - ABOUT < size then
  return 'added'
end
close({ hash = hash, closed = KEYS[4], due = KEYS[5], scored = KEYS[6] }, batch, ARGV[9], ARGV[11])
return 'completed'
