local package = key('package:' .. arguments[1])
if redis.call('TTL', package) >= 0 then redis.call('EXPIRE', package, PACKAGE_SECONDS) end
return {'ok', redis.call('EXISTS', package)}
