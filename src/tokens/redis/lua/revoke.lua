-- KEYS: of one token or of several, three each
-- How many unspent ones there were. Nobody comes back to a spent one either.
local history = history()
if not history then return not_primary() end
local now = now()
local revoked = 0
for at = 1, #KEYS, 3 do
  redis.call('DEL', KEYS[at + 2])
  local token = token(history, at)
  if token and (now < token.expiry or claim(token, now, at)) then
    revoked = revoked + redis.call('DEL', KEYS[at])
  end
end
return revoked
