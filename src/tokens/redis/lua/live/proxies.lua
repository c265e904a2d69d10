-- The proxies that live. Changes nothing: issuers ask as well.
local now = now()
return redis.call('ZRANGEBYSCORE', LIVE .. 'proxies', '(' .. ms(now), '+inf')
