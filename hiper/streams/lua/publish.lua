-- P1. Publish a trajectory once. Without a `#!lua` header on purpose: when memory is full the SET is refused and nothing is
-- half-published.
-- KEYS: epoch, stream, dedup, counts. ARGV: epoch, ttl ms, field, value, ... Returns the entry id, nil if published before.
--#include fence
if not redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[2]) then
  redis.call('HINCRBY', KEYS[4], 'deduplicated', 1)
  return false
end
redis.call('HINCRBY', KEYS[4], 'published', 1)
return redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
