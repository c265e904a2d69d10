-- ARGV: proxy, lease, session, CONSOLE, PROJECT, SOURCE, record, what others on the console mean, how many there may
-- be on the console, of the project, from the source; 0 is any number
-- Counts and takes a place in one step: of two viewers who come at once to a console for one, one gets in.
local history = history()
if not history then return not_primary() end
local now = now()
bury(now)
local proxy, session = ARGV[1], ARGV[3]
local function count(key)
  return key == '-' and 0 or redis.call('SCARD', LIVE .. key)
end
local function full(key, most)
  return tonumber(most) ~= 0 and count(key) >= tonumber(most)
end
-- The same call again, whose answer was lost, has its place.
local known = redis.call('HGET', LIVE .. 'sessions:' .. proxy, session)
if known then
  return { 'entered', string.match(known, '^%d+'), ms(math.max(count(ARGV[4]) - 1, 0)) }
elseif ARGV[8] == 'deny' and count(ARGV[4]) > 0 then
  return { 'in-use' }
elseif ARGV[8] == 'share' and full(ARGV[4], ARGV[9]) then
  return { 'target' }
elseif full(ARGV[5], ARGV[10]) then
  return { 'project' }
elseif full(ARGV[6], ARGV[11]) then
  return { 'source' }
end
local others = count(ARGV[4])
local value = ms(now) .. ' ' .. ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[7]
seat(session, value)
redis.call('HSET', LIVE .. 'sessions:' .. proxy, session, value)
-- A proxy that had been taken out is back, but without the mark that all of its sessions are.
renew(proxy, ARGV[2], now)
return { 'entered', ms(now), ms(others) }
