-- The grant of a spent token whose viewer may come back.
local history = history()
if not history then return not_primary() end
local back = comeback(history, now())
return back and back.grant
