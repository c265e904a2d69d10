-- ARGV: the epoch that is known, ID, revision of its absence, what is expected, how many marks are kept, channel
-- A mark stays, so that those who were away hear of it; the oldest are dropped.
local history = history()
if not history then return not_primary() end
local epoch, change = head()
if epoch ~= ARGV[1] then return { 'anew' } end
local before, live = there(ARGV[2])
if before == ARGV[3] then
  -- The same call again, whose answer was lost.
  return { 'done', ms(change), '?' }
elseif not live then
  return { 'absent' }
elseif not fits(ARGV[4], before, live) then
  return { 'differs' }
end
change = write(ARGV[2], ARGV[3], change)
redis.call('ZADD', TARGETS .. 'gone', ms(change), ARGV[2])
local many = redis.call('ZCARD', TARGETS .. 'gone') - tonumber(ARGV[5])
if many > 0 then
  local oldest = redis.call('ZRANGE', TARGETS .. 'gone', 0, many - 1, 'WITHSCORES')
  for at = 1, #oldest, 2 do
    redis.call('HDEL', TARGETS .. 'records', oldest[at])
    redis.call('ZREM', TARGETS .. 'order', oldest[at])
    redis.call('ZREM', TARGETS .. 'gone', oldest[at])
    redis.call('HSET', TARGETS .. 'head', 'horizon', oldest[at + 1])
  end
end
redis.call('PUBLISH', ARGV[6], ms(change))
return { 'done', ms(change), before }
