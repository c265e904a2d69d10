-- Several steps in one call. Each is as atomic as alone, since all of them are; each has its own keys, arguments and
-- answer, and its error is its own. The time and the history of all are one.
-- ARGV[1]: three characters for each step: which, how many keys, how many arguments, 32 more each, so that they can be
-- read; then their arguments. KEYS: their keys.
local function batch(keys, args)
  time = clock()
  known, since, together = ask(), time, true
  if not known then return not_primary() end
  local answers, steps, key, arg = {}, args[1], 1, 2
  for n = 1, #steps / 3 do
    local step, last_key, last_arg = string.byte(steps, n * 3 - 2, n * 3)
    last_key, last_arg = key + last_key - 33, arg + last_arg - 33
    KEYS, ARGV = { unpack(keys, key, last_key) }, { unpack(args, arg, last_arg) }
    local done, answer = pcall(STEPS[step])
    if done then
      -- Nothing would end the answers.
      answers[n] = answer or false
    else
      answers[n] = { err = type(answer) == 'table' and answer.err or tostring(answer) }
    end
    key, arg = last_key + 1, last_arg + 1
  end
  return answers
end
