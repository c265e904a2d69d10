-- ARGV: proxy
-- It has gone.
local history = history()
if not history then return not_primary() end
part(ARGV[1])
return history
