local refused = refusal()
if refused then return refused end
local cycle = present_cycle()
if tonumber(arguments[1]) == cycle then
  cycle = cycle + 1
  redis.call('HSET', key('counters'), 'cycle', text(cycle), 'cycle_began_at', time_now())
  next_number('change')
end
return {'ok', text(cycle)}
