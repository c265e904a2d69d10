-- ARGV: nonce
local history = history()
if not history then return not_primary() end
local claim = claim(token(history), now())
if claim and not claim.spent and claim.nonce == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 'released'
