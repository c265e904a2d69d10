-- ARGV: proxy, lease, then session and traffic in turn
-- The proxy lives, and its sessions have moved so much. Whether all of them are known here.
local history = history()
if not history then return not_primary() end
local now = now()
bury(now)
renew(ARGV[1], ARGV[2], now)
if #ARGV > 2 then
  redis.call('HSET', LIVE .. 'traffic:' .. ARGV[1], unpack(ARGV, 3))
end
return redis.call('HGET', LIVE .. 'sessions:' .. ARGV[1], '') == history and 'known' or 'unknown'
