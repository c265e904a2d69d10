-- KEYS: sorted sets of tokens by expiry, what a revocation of many finds them by
-- ARGV: token, lifetime
local now = now()
for _, index in ipairs(KEYS) do
  note(index, ARGV[1], now, ARGV[2])
end
return 'noted'
