-- The grant of a live, unspent token and how long it lives.
local history = history()
if not history then return not_primary() end
local now = now()
local token = token(history)
if not token or now >= token.expiry then
  return false
end
return { grant(token), ms(token.expiry - now) }
