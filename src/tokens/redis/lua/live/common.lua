-- What every script about live sessions begins with, beyond common.lua. All of these keys have the tag {fleet}, so
-- that a cluster has them on one node and a script may count across them. Proxies alone write them.
--
-- consolegate:live:{fleet}:
--   proxies          a sorted set: each proxy by the end of its lease
--   sessions:PROXY   a hash: SESSION to ENTERED CONSOLE PROJECT SOURCE TOKEN RECORD; its field '' has the history in
--                    which all of the proxy's sessions are there
--   traffic:PROXY    a hash: SESSION to what it has moved
--   CONSOLE          a sorted set of TOKEN:SESSION, all with the score 0, so that those of a token are counted without
--                    being read; '-' is none; a TOKEN that begins with '!' is of one who wants the console alone
--   PROJECT, SOURCE  sets of SESSION, to count them by

local LIVE = 'consolegate:live:{fleet}:'

-- CONSOLE, PROJECT, SOURCE and TOKEN of a session's value.
local function parts(value)
  return string.match(value, '^%d+ (%S+) (%S+) (%S+) (%S+) ')
end

local function unseat(session, value)
  local console, project, source, token = parts(value)
  if console ~= '-' then
    redis.call('ZREM', LIVE .. console, token .. ':' .. session)
  end
  redis.call('SREM', LIVE .. project, session)
  redis.call('SREM', LIVE .. source, session)
end

local function seat(session, console, project, source, token)
  if console ~= '-' then
    redis.call('ZADD', LIVE .. console, 0, token .. ':' .. session)
  end
  redis.call('SADD', LIVE .. project, session)
  redis.call('SADD', LIVE .. source, session)
end

-- How many there are on a console, beside those of this token, which is without its mark; of the token; and whether one
-- of the others wants it alone. It costs the same whoever is there: ';' follows ':', and '"' follows '!'.
local function company(console, token)
  local all = redis.call('ZCARD', LIVE .. console)
  if all == 0 then
    return 0, 0, false
  end
  local function count(from, to)
    return redis.call('ZLEXCOUNT', LIVE .. console, '[' .. from, '(' .. to)
  end
  local marked = '!' .. token
  local alone = count(marked .. ':', marked .. ';')
  local own = alone + count(token .. ':', token .. ';')
  return all - own, own, count('!', '"') > alone
end

-- Takes the proxy's sessions out, and it itself.
local function part(proxy)
  local all = redis.call('HGETALL', LIVE .. 'sessions:' .. proxy)
  for at = 1, #all, 2 do
    if all[at] ~= '' then
      unseat(all[at], all[at + 1])
    end
  end
  redis.call('DEL', LIVE .. 'sessions:' .. proxy, LIVE .. 'traffic:' .. proxy)
  redis.call('ZREM', LIVE .. 'proxies', proxy)
end

-- Takes out the proxies whose lease is over: nothing is decided while they are counted.
local function bury(now)
  for _, proxy in ipairs(redis.call('ZRANGEBYSCORE', LIVE .. 'proxies', '-inf', ms(now))) do
    part(proxy)
  end
end

local function renew(proxy, lease, now)
  redis.call('ZADD', LIVE .. 'proxies', ms(now + lease), proxy)
end

