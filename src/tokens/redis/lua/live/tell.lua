-- KEYS[1]: the log of what ends sessions, a stream
-- ARGV: entry, how many are kept, how long they are kept, channel
local history = history()
if not history then return not_primary() end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[2], '*', 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], id)
return id
