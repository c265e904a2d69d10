-- ARGV: nonce
-- Who wins is given all of the token's record.
local history = history()
if not history then return not_primary() end
local now = now()
local token, fenced = token(history)
local live = token and now < token.expiry
local value = live and 'claimed ' .. ARGV[1] .. ' ' .. ms(now + LEASE) .. ' ' .. token.id
-- Most often nobody has had it.
if live and redis.call('SET', KEYS[2], value, 'NX', 'PX', LEASE_KEPT) then
  return token.value
end
local claim = claim(token, now)
if claim and not claim.spent and claim.nonce == ARGV[1] then
  -- The holder asks again: the same answer, and no longer a lease.
  return token.value
elseif claim and claim.spent then
  return { 'spent', claim.protocol }
elseif fenced then
  return { 'fenced' }
elseif not live then
  return { 'unknown' }
elseif claim then
  return { 'busy', protocol(token) }
end
redis.call('SET', KEYS[2], value, 'PX', LEASE_KEPT)
return token.value
