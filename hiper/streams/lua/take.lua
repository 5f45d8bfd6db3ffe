-- Take an entry out of its stream for good: acknowledge and delete are one. XACK succeeds once, whoever calls it, so of an owner
-- and its claimer exactly one goes on. What is left in a stream is what is not acknowledged: XLEN is an exact measurement.
local function take(stream, group, entry, counts)
  if redis.call('XACK', stream, group, entry) == 0 then
    redis.call('HINCRBY', counts, 'fenced', 1)
    return false
  end
  redis.call('XDEL', stream, entry)
  return true
end
