-- KEYS, beyond the token's: where revocations look, if this server has it
-- ARGV: lifetime, grant id, protocol, grant, how much longer the key is kept, the token, how long it is noted
local history = history()
if not history then return not_primary() end
local now = now()
local token = token(history)
local claim = claim(token, now)
-- If it is there and unclaimed, it is the same call again, whose answer was lost.
if claim or (token and now < token.expiry and token.id ~= ARGV[2]) then
  return 'exists'
elseif not token or now >= token.expiry then
  local value = history .. ' ' .. ms(now + ARGV[1]) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
  redis.call('SET', KEYS[1], value, 'PX', ms(ARGV[1] + ARGV[5]))
end
for at = 4, #KEYS do
  note(KEYS[at], ARGV[6], now, ARGV[7])
end
return 'created'
