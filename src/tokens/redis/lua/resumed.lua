-- ARGV: nonce, window, how much longer the key is kept
local history = history()
if not history then return not_primary() end
local now = now()
local back = comeback(history, now)
if not back or back.holder ~= ARGV[1] then return 'lost' end
if back.pending then
  redis.call('HSET', KEYS[3], 'pending', '0', 'left', ms(back.left - 1), 'till', ms(now + ARGV[2]))
  redis.call('PEXPIRE', KEYS[3], ms(ARGV[2] + ARGV[3]))
end
return 'confirmed'
