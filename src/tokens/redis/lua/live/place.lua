-- ARGV: proxy, lease, the history in which it began to say what it has, or '' to learn it; whether this is all; then
-- session and ENTERED CONSOLE PROJECT SOURCE TOKEN RECORD in turn
-- Live sessions are not refused: they are there.
local history = history()
if not history then return not_primary() end
local now = now()
renew(ARGV[1], ARGV[2], now)
if ARGV[3] == '' then return history end
if history ~= ARGV[3] then return 'again' end
for at = 5, #ARGV, 2 do
  seat(ARGV[at], parts(ARGV[at + 1]))
  redis.call('HSET', LIVE .. 'sessions:' .. ARGV[1], ARGV[at], ARGV[at + 1])
end
if ARGV[4] == 'all' then
  redis.call('HSET', LIVE .. 'sessions:' .. ARGV[1], '', history)
end
return ms(now)
