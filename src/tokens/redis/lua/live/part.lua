-- ARGV: proxy
-- It has gone, or says anew what it has.
local history = history()
if not history then return not_primary() end
part(ARGV[1])
return history
