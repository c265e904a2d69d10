-- ARGV: proxy, sessions
local history = history()
if not history then return not_primary() end
local proxy = ARGV[1]
for at = 2, #ARGV do
  local value = redis.call('HGET', LIVE .. 'sessions:' .. proxy, ARGV[at])
  if value then
    unseat(ARGV[at], value)
    redis.call('HDEL', LIVE .. 'sessions:' .. proxy, ARGV[at])
  end
  redis.call('HDEL', LIVE .. 'traffic:' .. proxy, ARGV[at])
end
return 'left'
