-- What every script begins with. A script is one step: Redis runs nothing beside it.
--
-- KEYS[1], the token:  HISTORY EXPIRY GRANT-ID PROTOCOL GRANT      written by issuers alone
-- KEYS[2], its claim:  claimed NONCE LEASE GRANT-ID                written by proxies alone
--                      spent NONCE FORGET PROTOCOL
-- KEYS[3], who may come back, a hash written by proxies: history, grant; holder and whether it is pending;
--                      current and previous, hashes of secrets; left, how often; till and ends, how long; noted,
--                      until when revocations of many find the token
-- A revocation has several tokens' keys, three each: there `at` says which.
--
-- Times are milliseconds of this server's clock. They decide; the keys' own expiry only tidies up behind them.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function ms(time)
  return string.format('%d', time)
end

-- The id of this server's history of writes, or nil if it is no primary. A server that was promoted, or that
-- has read its data from a file, begins a new history: it may have lost claims, so what was issued under
-- another one is refused.
local function history()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then
    return nil
  end
  return string.match(info, 'master_replid:(%x+)')
end

local function not_primary()
  return redis.error_reply('READONLY this server is no primary')
end

-- The token, or nil; and whether it is there, but of another history. Its parts have fixed places where they can:
-- a pattern costs more than all else here.
local function token(history, at)
  local value = redis.call('GET', KEYS[at or 1])
  if not value then
    return nil, false
  end
  local from = #history + 2
  if string.find(value, history .. ' ', 1, true) ~= 1 then
    return nil, true
  end
  local to = string.find(value, ' ', from, true)
  local expiry, id = string.sub(value, from, to - 1), string.sub(value, to + 1, to + 36)
  return { value = value, expiry = tonumber(expiry), id = id, rest = to + 38 }, false
end

local function protocol(token)
  return string.match(token.value, '^%S+', token.rest)
end

local function grant(token)
  return string.match(token.value, '^%S+ (.*)$', token.rest)
end

-- The claim or tombstone in force, or nil. A claim is of one grant: what was revoked since is not held.
local function claim(token, now, at)
  local value = redis.call('GET', KEYS[(at or 1) + 1])
  if not value then
    return nil
  end
  local kind = string.sub(value, 1, 5)
  local from = kind == 'spent' and 7 or 9
  local to = string.find(value, ' ', from + 33, true)
  local nonce, till, last =
    string.sub(value, from, from + 31), tonumber(string.sub(value, from + 33, to - 1)), string.sub(value, to + 1)
  if now >= till then
    return nil
  elseif kind == 'spent' then
    return { spent = true, nonce = nonce, protocol = last }
  elseif token and token.id == last then
    return { spent = false, nonce = nonce }
  end
  return nil
end

-- Puts the token where revocations look, for so long.
local function note(index, token, now, time)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ms(now))
  -- Of two times the later one, whoever comes first.
  redis.call('ZADD', index, 'GT', ms(now + time), token)
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', index, ms(last - now + SLACK))
end

-- Who may come back, or nil; and whether it is there, but of another history.
local function comeback(history, now)
  local got = redis.call(
    'HMGET', KEYS[3], 'history', 'grant', 'holder', 'pending', 'current', 'previous', 'left', 'till', 'ends', 'noted'
  )
  if not got[1] then
    return nil, false
  elseif got[1] ~= history then
    return nil, true
  end
  local till, ends = tonumber(got[8]), tonumber(got[9])
  if now >= till or (ends > 0 and now >= ends) then
    return nil, false
  end
  return {
    grant = got[2], holder = got[3], pending = got[4] == '1', current = got[5], previous = got[6],
    left = tonumber(got[7]), till = till, ends = ends > 0 and ends or nil, noted = tonumber(got[10]),
  }, false
end

