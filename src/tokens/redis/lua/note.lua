-- KEYS[1]: a sorted set of tokens by expiry, what a revocation of many finds them by
-- ARGV: token, lifetime, how much longer the key is kept
local now = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms(now))
-- Of two times the later one, whoever comes first.
redis.call('ZADD', KEYS[1], 'GT', ms(now + ARGV[2]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIRE', KEYS[1], ms(last - now + ARGV[3]))
return 'noted'
