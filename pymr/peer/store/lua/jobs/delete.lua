local refused = refusal()
if refused then return refused end
local id, name, event = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local existed = redis.call('EXISTS', key('job:' .. name))
local group = redis.call('HGET', key('job:' .. name), 'group')
if existed == 1 then
  keep_deleted(name)
  remove_job(name)
  settle_group(group)
  tell(event)
end
return keep_outcome(id, text(existed))
