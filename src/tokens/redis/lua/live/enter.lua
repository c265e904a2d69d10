-- ARGV: proxy, lease, session, CONSOLE, PROJECT, SOURCE, TOKEN, record, what others on the console mean, how many there
-- may be on the console, of the project, from the source; 0 is any number
-- Since when it has its place, how many others there are and how many of its token; or what is full.
-- Counts and takes a place in one step: of two viewers who come at once to a console for one, one gets in. A session
-- of the same token is no other viewer: it is what a viewer left behind who is back.
local history = history()
if not history then return not_primary() end
local now = now()
bury(now)
local proxy, session, console = ARGV[1], ARGV[3], ARGV[4]
local there, before, alone = 0, 0, false
if console ~= '-' then
  there, before, alone = company(console, string.match(ARGV[7], '%x+'))
  if before > 0 and redis.call('ZSCORE', LIVE .. console, ARGV[7] .. ':' .. session) then
    before = before - 1
  end
end
local function full(key, most)
  return tonumber(most) ~= 0 and redis.call('SCARD', LIVE .. key) - before >= tonumber(most)
end
-- The same call again, whose answer was lost, has its place.
local known = redis.call('HGET', LIVE .. 'sessions:' .. proxy, session)
if known then
  return string.match(known, '^%d+') .. ' ' .. ms(there) .. ' ' .. ms(before)
elseif alone or (ARGV[9] == 'deny' and there > 0) then
  return 'in-use'
elseif ARGV[9] == 'share' and console ~= '-' and tonumber(ARGV[10]) ~= 0 and there >= tonumber(ARGV[10]) then
  return 'target'
elseif full(ARGV[5], ARGV[11]) then
  return 'project'
elseif full(ARGV[6], ARGV[12]) then
  return 'source'
end
local value = ms(now) .. ' ' .. table.concat(ARGV, ' ', 4, 8)
seat(session, console, ARGV[5], ARGV[6], ARGV[7])
redis.call('HSET', LIVE .. 'sessions:' .. proxy, session, value)
-- A proxy that had been taken out is back, but without the mark that all of its sessions are.
renew(proxy, ARGV[2], now)
return ms(now) .. ' ' .. ms(there) .. ' ' .. ms(before)
