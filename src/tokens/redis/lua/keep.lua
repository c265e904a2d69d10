-- ARGV: nonce, window, how much longer the key is kept
local history = history()
if not history then return not_primary() end
local now = now()
local back = comeback(history, now)
if not back then return 'gone' end
if back.holder ~= ARGV[1] then return 'taken' end
redis.call('HSET', KEYS[3], 'till', ms(now + ARGV[2]))
redis.call('PEXPIRE', KEYS[3], ms(ARGV[2] + ARGV[3]))
return 'kept'
