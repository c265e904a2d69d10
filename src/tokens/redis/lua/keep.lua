-- ARGV: nonce, window, how much longer the key is kept, for how long from now it was just noted where revocations look
local history = history()
if not history then return not_primary() end
local now = now()
local back = comeback(history, now)
if not back then return 'gone' end
if back.holder ~= ARGV[1] then return 'taken' end
local till, noted = now + ARGV[2], math.max(back.noted, now + ARGV[4])
-- Nothing is kept for longer than it is found.
if till > noted then return 'unnoted' end
redis.call('HSET', KEYS[3], 'till', ms(till), 'noted', ms(noted))
redis.call('PEXPIRE', KEYS[3], ms(ARGV[2] + ARGV[3]))
return 'kept'
