-- ARGV: nonce
local history = history()
if not history then return not_primary() end
local back = comeback(history, now())
if back and back.holder == ARGV[1] then
  redis.call('DEL', KEYS[3])
end
return 'forgotten'
