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
--
-- Steps that go out together (batch.lua) decide by what is asked once, at their beginning, and remember nothing.

-- Milliseconds of the server's clock.
local MEMORY = 10

local ask, clock, decide = history, now, token
local known, since, time = nil, 0, 0
-- Whether several steps are done in one call. Each call sets it: one that was broken off leaves nothing behind.
local together = false

-- Begins every step, so that the time is the step's.
local function history()
  if together then
    return known
  end
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
  if fenced and not together then
    -- A primary takes another history for its first replica, and goes on with all it has.
    known, since = ask(), time
    if known and known ~= history then
      return decide(known, at)
    end
  end
  return found, fenced
end

-- The steps by their numbers.
local STEPS = {}
