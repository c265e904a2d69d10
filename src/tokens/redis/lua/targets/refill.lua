-- ARGV: the epoch that was lost, with the last of several calls, else ''; a name for this filling; channel; then ID and
-- value in turn
-- The store was emptied: what is not there is put back. Until the last call there is no epoch, and nobody takes a part
-- for the whole. Numbers begin anew, so whoever knows the epoch has to read all of it: the filling's name tells.
local history = history()
if not history then return not_primary() end
local epoch, change = head()
for at = 4, #ARGV, 2 do
  if redis.call('HEXISTS', TARGETS .. 'records', ARGV[at]) == 0 then
    change = write(ARGV[at], ARGV[at + 1], change)
  end
end
if ARGV[1] ~= '' then
  if epoch == '' then
    redis.call('HSET', TARGETS .. 'head', 'epoch', ARGV[1], 'filled', ARGV[2])
  end
  redis.call('PUBLISH', ARGV[3], ms(change))
end
return ms(change)
