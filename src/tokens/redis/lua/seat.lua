-- KEYS[1]: a target's counted tokens, a sorted set by expiry
-- ARGV: token, lifetime, how much longer the key is kept, how many there may be
-- Takes a place, or says who has them.
local now = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms(now))
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
    return redis.call('ZRANGE', KEYS[1], 0, -1)
  end
  redis.call('ZADD', KEYS[1], ms(now + ARGV[2]), ARGV[1])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIRE', KEYS[1], ms(last - now + ARGV[3]))
return {}
