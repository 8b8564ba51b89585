local refused = refusal()
if refused then return refused end
local id, name = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local status = redis.call('HGET', key('job:' .. name), 'status')
if not status then return keep_outcome(id, 'unknown') end
if status == 'running' or status == 'failed' then return keep_outcome(id, status) end
if status ~= 'queued' then
  redis.call('HSET', key('job:' .. name), 'status', 'queued', 'cycle', '0')
  touch_job(name)
end
return keep_outcome(id, 'queued')
