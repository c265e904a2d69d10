-- ARGV: after which change, how many at most
-- The history of the server and of the inventory in it, the epoch, the last change, the horizon; then ID, number of its
-- last change and value in turn, in the order of the changes. Changes nothing: who may only read asks as well.
local history = history()
if not history then return not_primary() end
local epoch, change, horizon = head()
local filled = redis.call('HGET', TARGETS .. 'head', 'filled') or ''
local answer = { history .. ' ' .. filled, epoch, ms(change), ms(horizon) }
local found = redis.call(
  'ZRANGEBYSCORE', TARGETS .. 'order', '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2]
)
for at = 1, #found, 2 do
  table.insert(answer, found[at])
  table.insert(answer, found[at + 1])
  table.insert(answer, redis.call('HGET', TARGETS .. 'records', found[at]) or '')
end
return answer
