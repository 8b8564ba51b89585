local refused = refusal()
if refused then return refused end
local id, paused = arguments[1], tonumber(arguments[2])
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
if redis.call('EXISTS', key('paused')) ~= paused then
  if paused == 1 then redis.call('SET', key('paused'), '1') else redis.call('DEL', key('paused')) end
  next_number('change')
  tell(arguments[3])
end
return keep_outcome(id, 'done')
