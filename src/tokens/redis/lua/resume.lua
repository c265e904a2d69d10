-- ARGV: secret, next secret, nonce, lease, how much longer the key is kept
local history = history()
if not history then return not_primary() end
local now = now()
local back, fenced = comeback(history, now)
if not back then
  return { fenced and 'fenced' or 'refused' }
elseif back.left == 0 or (ARGV[1] ~= back.current and ARGV[1] ~= back.previous) then
  return { 'refused' }
end
-- A console that does not answer does not use up the viewer's time.
local till = math.max(back.till, now + ARGV[4])
redis.call('HSET', KEYS[3], 'previous', ARGV[1], 'current', ARGV[2], 'holder', ARGV[3], 'pending', '1', 'till', ms(till))
redis.call('PEXPIRE', KEYS[3], ms(till - now + ARGV[5]))
return { 'resumed', back.grant, back.ends and ms(back.ends - now) or '' }
