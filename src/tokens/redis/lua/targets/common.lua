-- What every script about registered targets begins with, beyond common.lua. All of these keys have the tag {targets},
-- so that a cluster has them on one node and a change is one step. Records are sealed; what they say nobody here knows.
--
-- consolegate:targets:{targets}:
--   head      a hash: epoch, which names this store's inventory; change, the number of the last change; horizon, the
--             last change that left no trace: a mark that was dropped; filled, by whom it was filled again
--   records   a hash: ID to REVISION SEALED, or to REVISION alone, the mark of one that was removed
--   order     a sorted set: ID by the number of its last change
--   gone      a sorted set: the marks among them

local TARGETS = 'consolegate:targets:{targets}:'

-- '' is the epoch of a store in which nothing was ever registered.
local function head()
  local got = redis.call('HMGET', TARGETS .. 'head', 'epoch', 'change', 'horizon')
  return got[1] or '', tonumber(got[2] or '0'), tonumber(got[3] or '0')
end

-- The revision under this id, or nil; and whether it is a target's rather than a mark's.
local function there(id)
  local value = redis.call('HGET', TARGETS .. 'records', id)
  if not value then
    return nil, false
  end
  local revision = string.match(value, '^%S+')
  return revision, #value > #revision
end

-- Whether what is there is what the caller expects: '' anything, '-' nothing, '*' something, or this revision.
local function fits(expected, revision, live)
  if expected == '' then
    return true
  elseif expected == '-' then
    return not live
  elseif expected == '*' then
    return live
  end
  return live and revision == expected
end

local function write(id, value, change)
  change = change + 1
  redis.call('HSET', TARGETS .. 'records', id, value)
  redis.call('ZADD', TARGETS .. 'order', ms(change), id)
  redis.call('HSET', TARGETS .. 'head', 'change', ms(change))
  return change
end
