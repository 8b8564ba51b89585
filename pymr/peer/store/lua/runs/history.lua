local name = arguments[1] == '' and 'history' or 'history:' .. arguments[1]
local start = tonumber(arguments[3])
local runs = redis.call('ZREVRANGE', key(name), start, start + tonumber(arguments[2]) - 1)
for index, id in ipairs(runs) do
  local run = redis.call('HMGET', key('run:' .. id), 'record', 'end_time')
  runs[index] = packed_ended(run[1], run[2])
end
return {'ok', packed_array(runs)}
