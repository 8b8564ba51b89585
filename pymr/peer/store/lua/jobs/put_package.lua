local package = key('package:' .. arguments[1])
if redis.call('EXISTS', package) == 0 then redis.call('SET', package, arguments[2]) end
if redis.call('HEXISTS', key('package_uses'), arguments[1]) == 0 then
  redis.call('EXPIRE', package, PACKAGE_SECONDS)
end
return {'ok'}
