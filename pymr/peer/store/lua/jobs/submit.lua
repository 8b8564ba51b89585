-- A refusal is not kept as the outcome of a request: it had no effect.
local refused = refusal()
if refused then return refused end
local id, over_version, name, definition, project_hash, run_once, group, priority = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local version = redis.call('HGET', key('job:' .. name), 'version') or '0'
if over_version ~= '' and over_version ~= version then return conflict(name, version) end
return keep_outcome(id, queue_job(name, definition, project_hash, run_once, group, priority, ''))
