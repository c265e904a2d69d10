-- ARGV: the epoch that is known, an epoch to begin with if there is none, ID, revision, record, what is expected, how
-- many targets there may be, channel
local history = history()
if not history then return not_primary() end
local epoch, change = head()
if epoch ~= ARGV[1] then return { 'anew' } end
local before, live = there(ARGV[3])
if before == ARGV[4] then
  -- The same call again, whose answer was lost.
  return { 'done', ms(change), '?' }
elseif not fits(ARGV[6], before, live) then
  return { 'differs' }
elseif not live then
  local count = redis.call('HLEN', TARGETS .. 'records') - redis.call('ZCARD', TARGETS .. 'gone')
  if count >= tonumber(ARGV[7]) then return { 'full' } end
end
if epoch == '' then
  redis.call('HSET', TARGETS .. 'head', 'epoch', ARGV[2])
end
change = write(ARGV[3], ARGV[4] .. ' ' .. ARGV[5], change)
redis.call('ZREM', TARGETS .. 'gone', ARGV[3])
redis.call('PUBLISH', ARGV[8], ms(change))
return { 'done', ms(change), live and before or '' }
