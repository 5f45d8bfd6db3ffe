-- Part of every script: KEYS[1] is the run's epoch, ARGV[1] the epoch the caller joined. Data that was lost and perhaps begun
-- anew by somebody else is never touched.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('EPOCH the data of this run is gone')
end
