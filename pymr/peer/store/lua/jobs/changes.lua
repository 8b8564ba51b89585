-- The jobs of a whole table are read beside it, in the same transaction. As of one that is whole there is told
-- of many changes.
local CHANGES_MAX = 500
local refused = refusal()
if refused then return refused end
local after, change = tonumber(arguments[1]), counter('change')
local since = '(' .. arguments[1]
local is_whole = after == 0 or after < counter('trimmed') or after > change
  or redis.call('ZCOUNT', key('changes'), since, '+inf') > CHANGES_MAX
  or redis.call('ZCOUNT', key('states_changes'), since, '+inf') > CHANGES_MAX
local jobs, deleted, states = {}, {}, {}
if not is_whole then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('changes'), since, '+inf')) do
    jobs[#jobs + 1] = redis.call('HGET', key('packed_jobs'), name)
    jobs[#jobs + 1] = redis.call('HGET', key('definitions'), name)
    jobs[#jobs + 1] = redis.call('HGET', key('exceptions'), name) or ''
  end
  deleted = redis.call('ZRANGEBYSCORE', key('tombstones'), since, '+inf')
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('states_changes'), since, '+inf')) do
    states[#states + 1] = name
    states[#states + 1] = redis.call('HGET', key('states'), name)
  end
else
  states = redis.call('HGETALL', key('states'))
end
return {'ok', text(change), is_whole and 1 or 0, redis.call('EXISTS', key('paused')), jobs, deleted,
  text(present_cycle()), redis.call('HGET', key('counters'), 'cycle_began_at') or '0', time_now(),
  states}
