-- What every script about live sessions begins with, beyond common.lua. All of these keys have the tag {fleet}, so
-- that a cluster has them on one node and a script may count across them. Proxies alone write them.
--
-- consolegate:live:{fleet}:
--   proxies          a sorted set: each proxy by the end of its lease
--   sessions:PROXY   a hash: SESSION to ENTERED CONSOLE PROJECT SOURCE TOKEN RECORD; its field '' has the history in
--                    which all of the proxy's sessions are there
--   traffic:PROXY    a hash: SESSION to what it has moved
--   CONSOLE          a set of SESSION:TOKEN, to count them by; '-' is none; a TOKEN that ends with '!' is of one who
--                    wants the console alone
--   PROJECT, SOURCE  sets of SESSION, to count them by

local LIVE = 'consolegate:live:{fleet}:'

local function each(session, value, call)
  local console, project, source, token = string.match(value, '^%d+ (%S+) (%S+) (%S+) (%S+) ')
  if console ~= '-' then
    redis.call(call, LIVE .. console, session .. ':' .. token)
  end
  redis.call(call, LIVE .. project, session)
  redis.call(call, LIVE .. source, session)
end

local function unseat(session, value)
  each(session, value, 'SREM')
end

local function seat(session, value)
  each(session, value, 'SADD')
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

