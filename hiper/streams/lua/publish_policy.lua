#!lua flags=allow-oom
-- P8.7. Announce weights. KEYS: epoch, policy, generation. ARGV: epoch, generation, version, uri, manifest sha256, the
-- announcer's Unix time, kept of the first announcement.
-- Returns 1; 0 if this generation has announced a newer version; -1 if a newer learner has taken over.
--#include fence
if redis.call('GET', KEYS[3]) ~= ARGV[2] then
  return -1
end
local current = redis.call('HMGET', KEYS[2], 'generation', 'version')
if current[1] == ARGV[2] and tonumber(current[2]) > tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[2], 'generation', ARGV[2], 'version', ARGV[3], 'uri', ARGV[4], 'manifest_sha256', ARGV[5])
if current[1] ~= ARGV[2] or current[2] ~= ARGV[3] then
  redis.call('HSET', KEYS[2], 'announced_at', ARGV[6])
end
return 1
