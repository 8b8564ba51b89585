local refused = refusal()
if refused then return refused end
if redis.call('GET', key('events_token')) == arguments[1] then return {'ok'} end
for index = 2, #arguments do tell(arguments[index]) end
redis.call('SET', key('events_token'), arguments[1])
return {'ok'}
