-- Whether there was an unspent token.
local history = history()
if not history then return not_primary() end
local now = now()
local token = token(history)
if not token or (now >= token.expiry and not claim(token, now)) then
  return 0
end
return redis.call('DEL', KEYS[1])
