#!lua name=muster_v2

-- Compare-and-set with an outbox, each on one shard's two hashes. Values and events start with
-- their version, 8 bytes, big-endian; versions are only ever compared, never counted, so that no
-- bit is lost to floating point. Binaries of different ages share a server: what these functions
-- do never changes under this name.

local VERSION_BYTES = 8
-- Written out: while a library loads, Lua's own functions are not there.
local ABSENT = '\0\0\0\0\0\0\0\0'

-- KEYS: values, outbox. ARGV: id, version expected, new value, new events ('' for none). A value
-- that is nothing but a version deletes; with events to tell it stays until they are settled.
-- 1 if written, 0 if the version is another.
local function write(keys, args)
  local id, expected, value, events = args[1], args[2], args[3], args[4]
  local found = redis.call('HGET', keys[1], id)
  local version = found and string.sub(found, 1, VERSION_BYTES) or ABSENT
  if version ~= expected then
    return 0
  end
  if #value == VERSION_BYTES and events == '' then
    redis.call('HDEL', keys[1], id)
  else
    redis.call('HSET', keys[1], id, value)
  end
  if events == '' then
    redis.call('HDEL', keys[2], id)
  else
    redis.call('HSET', keys[2], id, events)
  end
  return 1
end

-- KEYS: values, outbox. ARGV: id, version. 1 if events of this version were there.
local function settle(keys, args)
  local found = redis.call('HGET', keys[2], args[1])
  if not found or string.sub(found, 1, VERSION_BYTES) ~= args[2] then
    return 0
  end
  if redis.call('HGET', keys[1], args[1]) == args[2] then
    redis.call('HDEL', keys[1], args[1])
  end
  return redis.call('HDEL', keys[2], args[1])
end

redis.register_function('muster_v2_write', write)
redis.register_function('muster_v2_settle', settle)
