local refused = refusal()
if refused then return refused end
local name, version = unpack(arguments)
local job = redis.call('HMGET', key('job:' .. name), 'version', 'status', 'group')
local leaves = job[1] == version and job[2] == 'failed' and job[3] == ''
if leaves then remove_job(name) end
return {'ok', leaves and 1 or 0}
