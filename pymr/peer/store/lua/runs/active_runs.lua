local refused = refusal()
if refused then return refused end
local runs = redis.call('SMEMBERS', key('active'))
for index, id in ipairs(runs) do runs[index] = packed_run(id) end
return {'ok', packed_array(runs)}
