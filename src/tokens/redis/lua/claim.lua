-- ARGV: nonce, lease, how much longer the key is kept
local history = history()
if not history then return not_primary() end
local now = now()
local token, fenced = token(history)
local claim = claim(token, now)
if claim and not claim.spent and claim.nonce == ARGV[1] then
  -- The holder asks again: the same answer, and no longer a lease.
  return { 'won', token.grant }
elseif claim and claim.spent then
  return { 'spent', claim.protocol }
elseif fenced then
  return { 'fenced' }
elseif not token or now >= token.expiry then
  return { 'unknown' }
elseif claim then
  return { 'busy', token.protocol }
end
local value = 'claimed ' .. ARGV[1] .. ' ' .. ms(now + ARGV[2]) .. ' ' .. token.id
redis.call('SET', KEYS[2], value, 'PX', ms(ARGV[2] + ARGV[3]))
return { 'won', token.grant }
