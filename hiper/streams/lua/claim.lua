#!lua flags=allow-oom
-- Take over entries nobody has touched for a while, a portion of the pending list at a time. XAUTOCLAIM would also deliver to a
-- slow consumer what it holds, again and again, until that counts as poison.
-- KEYS: epoch, stream. ARGV: epoch, group, consumer, least idle ms, cursor, count, entries the consumer has been given...
-- Returns the next cursor (`-` at the end), entries claimed, their deliveries, entries found deleted, and which of the given ones
-- the consumer still holds.
--#include fence
local stream, group, consumer = KEYS[2], ARGV[2], ARGV[3]
local is_held, held = {}, {}
for i = 7, #ARGV do
  if redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1, consumer)[1] then
    is_held[ARGV[i]] = true
    held[#held + 1] = ARGV[i]
  end
end
local idle = redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6])
local claimed, deliveries, deleted = {}, {}, {}
for _, pending in ipairs(idle) do
  if not is_held[pending[1]] then
    local entry = redis.call('XCLAIM', stream, group, consumer, 0, pending[1])[1]
    if entry then
      claimed[#claimed + 1] = entry
      deliveries[#deliveries + 1] = pending[4] + 1
    else
      deleted[#deleted + 1] = pending[1]
    end
  end
end
local cursor = #idle < tonumber(ARGV[6]) and '-' or '(' .. idle[#idle][1]
return { cursor, claimed, deliveries, deleted, held }
