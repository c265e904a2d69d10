-- ARGV: nonce, how long a tombstone stays, how much longer its key is kept; and if the viewer may come back:
--       secret, how often, window, the longest (0: no such)
local history = history()
if not history then return not_primary() end
local now = now()
local token, fenced = token(history)
local claim = claim(token, now)
if not claim or claim.nonce ~= ARGV[1] then
  return fenced and 'fenced' or 'lost'
elseif not claim.spent then
  local forget = math.max(token.expiry, now) + ARGV[2]
  local value = 'spent ' .. ARGV[1] .. ' ' .. ms(forget) .. ' ' .. token.protocol
  -- First what only a proxy may do: who may not leaves everything as it was.
  redis.call('SET', KEYS[2], value, 'PX', ms(forget - now + ARGV[3]))
  if ARGV[4] then
    local ends = ARGV[7] == '0' and '0' or ms(now + ARGV[7])
    redis.call(
      'HSET', KEYS[3], 'history', history, 'grant', token.grant, 'holder', ARGV[1], 'pending', '0', 'current', ARGV[4],
      'previous', ARGV[4], 'left', ARGV[5], 'till', ms(now + ARGV[6]), 'ends', ends, 'noted', ms(token.expiry)
    )
    redis.call('PEXPIRE', KEYS[3], ms(ARGV[6] + ARGV[3]))
  end
  -- The token goes, so that nothing opens it should its tombstone be lost.
  redis.call('DEL', KEYS[1])
end
return 'confirmed'
