local refused = refusal()
if refused then return refused end
local id, name, event = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local version = redis.call('HGET', key('job:' .. name), 'version')
if version then return conflict(name, version) end
local job = redis.call('HMGET', key('deleted:' .. name), 'definition', 'project_hash', 'run_once', 'group',
  'priority', 'seconds')
local hash = job[2]
if not job[1] or (hash ~= '' and redis.call('EXISTS', key('package:' .. hash)) == 0) then
  return {'ok', 'unknown'}
end
forget_deleted(name)
tell(event)
return keep_outcome(id, queue_job(name, job[1], hash, job[3], job[4], job[5], job[6]))
