-- KEYS[1]: the log of what ends sessions
-- ARGV: after which entry, or '' for its end; how many at most; how many are kept
-- The history, the last entry this answer knows, since when entries may be missing before it ('' if none are), the
-- time now, and the entries.
local history = history()
if not history then return not_primary() end
local now = now()
local function parts(id)
  local time, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(time), tonumber(seq)
end
if ARGV[1] == '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  return { history, last and last[1] or '0-0', '', ms(now) }
end
local missing = ''
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local first_ms, first_seq = parts(first)
  local read, seq = parts(ARGV[1])
  if first_ms > read or (first_ms == read and first_seq > seq) then
    missing = first
  end
end
local answer = { history, ARGV[1], missing, ms(now) }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  answer[2] = entry[1]
  table.insert(answer, entry[1])
  table.insert(answer, entry[2][2])
end
return answer
