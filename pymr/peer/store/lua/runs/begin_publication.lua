local refused = refusal()
if refused then return refused end
if not is_active(arguments[1]) then return {'ok', 0} end
redis.call('HSET', key('run:' .. arguments[1]), 'status', 'publishing')
return {'ok', 1}
