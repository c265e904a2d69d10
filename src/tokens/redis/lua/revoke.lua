-- Whether there was an unspent token. Nobody comes back to a spent one either.
local history = history()
if not history then return not_primary() end
local now = now()
redis.call('DEL', KEYS[3])
local token = token(history)
if not token or (now >= token.expiry and not claim(token, now)) then
  return 0
end
return redis.call('DEL', KEYS[1])
