-- A batch's hash: one field per member (id -> payload, empty if abandoned) and three fields about the batch:
-- #size (members it was issued with), #abandoned (members without payload), #ready (BatchReady without its `members`).
local ABOUT = 3

local function waiting(hash)
  local fields = redis.call('HLEN', hash)
  if fields == 0 then
    return 0
  end
  return fields - ABOUT - tonumber(redis.call('HGET', hash, '#abandoned'))
end

local function varint(number)
  local bytes = ''
  while number >= 128 do
    bytes = bytes .. string.char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  return bytes .. string.char(number)
end

-- Emit the batch to traj.scored and keep it from opening again. `\24` is the tag of BatchReady.members.
local function close(keys, batch, version, ttl_ms)
  local payload = redis.call('HGET', keys.hash, '#ready') .. '\24' .. varint(waiting(keys.hash))
  redis.call('XADD', keys.scored, '*', 'batch', batch, 'v', version, 'sha', redis.sha1hex(payload), 'p', payload)
  redis.call('ZADD', keys.due, 'inf', batch)
  redis.call('SET', keys.closed, '1', 'PX', ttl_ms)
end
