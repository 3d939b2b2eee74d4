#!lua name=muster_v3

-- Compare-and-set with an outbox, each on one shard's two hashes. Values and events start with
-- their version, 8 bytes, big-endian; versions are only ever compared, never counted, so that no
-- bit is lost to floating point. Binaries of different ages share a server: what these functions
-- do never changes under this name.

local VERSION_BYTES = 8
-- Written out: while a library loads, Lua's own functions are not there.
local ABSENT = '\0\0\0\0\0\0\0\0'

-- A shard's generation and how many writes it took. The writer names the generation it knows of and
-- the highest count it saw: a server that does not remember both was emptied or set back.

-- KEYS: values, outbox, generation. ARGV: id, version expected, new value, new events ('' for
-- none), generation known, count seen. A value that is nothing but a version deletes; with events
-- to tell it stays until they are settled. The shard's count from now on if written, 0 if the
-- version is another, -1 if the shard was lost.
local function write(keys, args)
  local id, expected, value, events = args[1], args[2], args[3], args[4]
  local shard = redis.call('HMGET', keys[3], 'generation', 'writes')
  if shard[1] ~= args[5] or tonumber(shard[2]) < tonumber(args[6]) then
    return -1
  end
  local found = redis.call('HGET', keys[1], id)
  -- What is too short for a version is as good as not there.
  local whole = found and #found >= VERSION_BYTES
  local version = whole and string.sub(found, 1, VERSION_BYTES) or ABSENT
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
  return redis.call('HINCRBY', keys[3], 'writes', 1)
end

-- KEYS: generation. ARGV: generation known, count seen, generation to begin if the shard is older
-- than that. The shard's generation and its count.
local function look(keys, args)
  local shard = redis.call('HMGET', keys[1], 'generation', 'writes')
  local known = tonumber(args[1])
  local generation, writes = tonumber(shard[1] or '0'), tonumber(shard[2] or '-1')
  if generation > known or (generation == known and writes >= tonumber(args[2])) then
    return shard
  end
  redis.call('HSET', keys[1], 'generation', args[3], 'writes', '0')
  return { args[3], '0' }
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

redis.register_function('muster_v3_write', write)
redis.register_function('muster_v3_look', look)
redis.register_function('muster_v3_settle', settle)
