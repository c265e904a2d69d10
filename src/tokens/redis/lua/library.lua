-- What the steps that open a console begin with beyond common.lua where they are functions: the server's history of
-- writes, remembered, because asking for it (INFO) takes as long as all else in a step.
--
-- A library's variables live in one server process, for as long as that keeps the data it has: a restart, a full
-- resync and a reload load it anew, a replica has its own, and it is filled by a primary alone. An id of a history is
-- made at random by the process that has it, when it starts or is promoted, so no other process decides by it. A
-- process that was demoted and promoted again without having been loaded anew has lost no write that it made. So one
-- that decides by an id it had earlier gives nothing out twice: what was issued under it was issued here, and so was
-- every claim of it. What it may not have heard of is a revocation at the primary in between. So nothing is remembered
-- for longer than MEMORY, which no demotion and promotion fits into; and none is called fenced by memory.

-- Milliseconds of the server's clock.
local MEMORY = 10

local ask, clock, decide = history, now, token
local known, since, time = nil, 0, 0

-- Begins every step, so that the time is the step's.
local function history()
  time = clock()
  -- A clock that was set back makes no memory longer.
  if not known or time < since or time >= since + MEMORY then
    known, since = ask(), time
  end
  return known
end

local function now()
  return time
end

local function token(history, at)
  local found, fenced = decide(history, at)
  if fenced then
    -- A primary takes another history for its first replica, and goes on with all it has.
    known, since = ask(), time
    if known and known ~= history then
      return decide(known, at)
    end
  end
  return found, fenced
end
