-- ARGV: lifetime, grant id, protocol, grant, how much longer the key is kept
local history = history()
if not history then return not_primary() end
local now = now()
local token = token(history)
local claim = claim(token, now)
if claim or (token and now < token.expiry) then
  -- The same call again, whose answer was lost.
  if token and not claim and token.id == ARGV[2] then return 'created' end
  return 'exists'
end
local value = history .. ' ' .. ms(now + ARGV[1]) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
redis.call('SET', KEYS[1], value, 'PX', ms(ARGV[1] + ARGV[5]))
return 'created'
