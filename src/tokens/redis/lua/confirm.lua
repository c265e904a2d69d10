-- ARGV: nonce; and if the viewer may come back: secret, how often, window, the longest (0: no such)
local history = history()
if not history then return not_primary() end
local now = now()
local token, fenced = token(history)
local claim = claim(token, now)
if not claim or claim.nonce ~= ARGV[1] then
  return fenced and 'fenced' or 'lost'
elseif not claim.spent then
  local forget = math.max(token.expiry, now) + TOMBSTONE
  local value = 'spent ' .. ARGV[1] .. ' ' .. ms(forget) .. ' ' .. protocol(token)
  -- First what only a proxy may do: who may not leaves everything as it was.
  redis.call('SET', KEYS[2], value, 'PX', ms(forget - now + SLACK))
  if ARGV[2] then
    local ends = ARGV[5] == '0' and '0' or ms(now + ARGV[5])
    redis.call(
      'HSET', KEYS[3], 'history', string.match(token.value, '^%x+'), 'grant', grant(token), 'holder', ARGV[1], 'pending', '0',
      'current', ARGV[2], 'previous', ARGV[2], 'left', ARGV[3], 'till', ms(now + ARGV[4]), 'ends', ends, 'noted', ms(token.expiry)
    )
    redis.call('PEXPIRE', KEYS[3], ms(ARGV[4] + SLACK))
  end
  -- The token goes, so that nothing opens it should its tombstone be lost.
  redis.call('DEL', KEYS[1])
end
return 'confirmed'
