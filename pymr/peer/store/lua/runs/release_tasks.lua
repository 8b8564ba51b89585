local refused = refusal()
if refused then return refused end
local id, void = arguments[1], 3 + 2 * tonumber(arguments[2])
if not is_running(id) then return {'ok'} end
for index = 3, void - 1, 2 do
  local task = arguments[index]
  local attempt, digest = string.match(redis.call('HGET', key('tasks:' .. id), task) or '', '^(%S+) (%S*) ')
  if attempt == arguments[index + 1] then
    redis.call('HDEL', key('tasks:' .. id), task)
    if digest ~= '' then redis.call('HSET', key('released:' .. id), task, digest) end
  end
end
for index = void, #arguments, 2 do
  local task, number = arguments[index], tonumber(arguments[index + 1])
  if number > tonumber(redis.call('HGET', key('released:' .. id), task) or '0') then
    redis.call('HSET', key('released:' .. id), task, text(number))
  end
end
return {'ok'}
