-- KEYS[1]: the log of what ends sessions
-- ARGV: after which entry, or '' for its end; how many at most; how many are kept
-- The history, the last entry this answer knows, since when entries may be missing before it ('' if none are), and
-- the entries.
local history = history()
if not history then return not_primary() end
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
if ARGV[1] == '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  return { history, last and last[1] or '0-0', '' }
end
local missing = ''
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local first_ms, first_seq = parts(first)
  local ms, seq = parts(ARGV[1])
  if first_ms > ms or (first_ms == ms and first_seq > seq) then
    missing = first
  end
end
local answer = { history, ARGV[1], missing }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  answer[2] = entry[1]
  table.insert(answer, entry[1])
  table.insert(answer, entry[2][2])
end
return answer
