#!lua flags=allow-oom
-- Create a run once: its epoch and its consumer groups, from entry 0.
-- KEYS: epoch, streams... ARGV: new epoch, group of each stream... Returns the epoch in force.
if redis.call('SET', KEYS[1], ARGV[1], 'NX') then
  for i = 2, #KEYS do
    redis.call('XGROUP', 'CREATE', KEYS[i], ARGV[i], '0', 'MKSTREAM')
  end
end
return redis.call('GET', KEYS[1])
