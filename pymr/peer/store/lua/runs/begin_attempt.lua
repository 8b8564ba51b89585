-- The token is of whoever asks: asked for again after a lost reply, it is the same attempt.
local refused = refusal()
if refused then return refused end
local id, task, token = unpack(arguments)
if not is_running(id) then return {'ok', 0} end
local number, before = string.match(redis.call('HGET', key('attempts:' .. id), task) or '', '^(%d+) (.*)$')
number = tonumber(number or '0')
if before ~= token then
  number = number + 1
  redis.call('HSET', key('attempts:' .. id), task, text(number) .. ' ' .. token)
end
return {'ok', number}
