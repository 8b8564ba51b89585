local refused = refusal()
if refused then return refused end
local id, counting = arguments[1], {'ok'}
local running = is_running(id)
for index = 2, #arguments, 3 do
  local task, attempt, committed = arguments[index], arguments[index + 1], arguments[index + 2]
  if running and redis.call('HSETNX', key('tasks:' .. id), task, committed) == 0 then
    attempt = string.match(redis.call('HGET', key('tasks:' .. id), task), '^%S+')
  end
  counting[#counting + 1] = running and attempt or ''
end
return counting
