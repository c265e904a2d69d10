-- ARGV: ID, value, the same sealed with another key, in turn
-- A record that was changed meanwhile stays; nobody has to read these again, for they say the same.
local history = history()
if not history then return not_primary() end
local count = 0
for at = 1, #ARGV, 3 do
  if redis.call('HGET', TARGETS .. 'records', ARGV[at]) == ARGV[at + 1] then
    redis.call('HSET', TARGETS .. 'records', ARGV[at], ARGV[at + 2])
    count = count + 1
  end
end
return count
