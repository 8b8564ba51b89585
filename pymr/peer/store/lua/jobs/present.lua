local present = {'ok'}
for _, peer in ipairs(redis.call('SMEMBERS', key('peers'))) do
  if redis.call('EXISTS', key('presence:' .. peer)) == 1 then present[#present + 1] = peer end
end
return present
