local refused = refusal()
if refused then return refused end
local id, plan = unpack(arguments)
if not is_active(id) then return {'ok', 0} end
redis.call('HSETNX', key('run:' .. id), 'plan', plan)
return {'ok', redis.call('HGET', key('run:' .. id), 'plan') == plan and 1 or 0}
