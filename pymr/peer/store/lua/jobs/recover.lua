-- Jobs of another incarnation, one that began on an empty Redis, were submitted to it and stay; those of an
-- old backup do not, as they may have been deleted since. So it is with states: those of another incarnation
-- are newer than what is remembered, and a pause of either stays. All numbers go on far above any that
-- were given. Jobs that were deleted cannot be put back any more. The texts of the jobs were put beside those
-- of the table before: see Store.recover.
local JOB_FIELDS = 13
local MARGIN = 1000
local old, new, floor, change = arguments[1], arguments[2], tonumber(arguments[3]), tonumber(arguments[4])
local cycle, paused, states_end = tonumber(arguments[5]), arguments[6] == '1', 7 + 2 * tonumber(arguments[7])
local stored = redis.call('GET', key('incarnation'))
local texts = {'definitions', 'exceptions'}
local function recovered(hash) return key('recovered_' .. hash .. ':' .. new) end
if stored == new then return {'ok', 1} end
local is_behind = stored == old and counter('change') < change
if stored and tonumber(redis.call('GET', key('epoch')) or '0') >= floor and not is_behind then
  for _, hash in ipairs(texts) do redis.call('DEL', recovered(hash)) end
  return {'ok', 0}
end
local began_meanwhile = stored and stored ~= old

for _, id in ipairs(redis.call('SMEMBERS', key('active'))) do
  redis.call('DEL', key('run:' .. id), key('tasks:' .. id), key('released:' .. id), key('attempts:' .. id))
end
for _, name in ipairs(redis.call('ZRANGE', key('changes'), 0, -1)) do
  local job = key('job:' .. name)
  if began_meanwhile then
    if redis.call('HGET', job, 'status') == 'running' then
      redis.call('HSET', job, 'status', 'queued', 'run_id', '', 'start_time', '', 'cycle', '0')
    end
    if redis.call('HGET', job, 'first_run_status') == '' then redis.call('HSET', job, 'first_run_id', '') end
    touch_job(name)
  else
    forget_job(name)
  end
end
for _, name in ipairs(redis.call('ZRANGE', key('deleted'), 0, -1)) do forget_deleted(name) end
redis.call('DEL', key('active'), key('tombstones'), key('lease'))

local number = math.max(change, counter('change'), counter('version'), counter('run')) + MARGIN
for index = states_end + 1, #arguments, JOB_FIELDS + 1 do
  number = math.max(number, tonumber(arguments[index + 1]) + MARGIN)
end
redis.call('HSET', key('counters'), 'change', text(number), 'version', text(number), 'run', text(number),
  'trimmed', text(number), 'cycle', text(math.max(cycle, present_cycle())), 'cycle_began_at', time_now())

if not began_meanwhile then redis.call('DEL', key('states'), key('states_changes'), key('paused')) end
if paused then redis.call('SET', key('paused'), '1') end
for index = 8, states_end, 2 do
  if redis.call('HEXISTS', key('states'), arguments[index]) == 0 then
    set_state(arguments[index], arguments[index + 1])
  end
end
next_number('change')

for index = states_end + 1, #arguments, JOB_FIELDS + 1 do forget_job(arguments[index]) end
for _, hash in ipairs(texts) do
  for _, name in ipairs(redis.call('HKEYS', key(hash))) do
    redis.call('HSET', recovered(hash), name, redis.call('HGET', key(hash), name))
  end
  redis.call('DEL', key(hash))
  if redis.call('EXISTS', recovered(hash)) == 1 then
    redis.call('RENAME', recovered(hash), key(hash))
    redis.call('PERSIST', key(hash))
  end
end
for index = states_end + 1, #arguments, JOB_FIELDS + 1 do
  local name, job = arguments[index], key('job:' .. arguments[index])
  redis.call('HSET', job, 'version', arguments[index + 1], 'submitted_at', arguments[index + 2],
    'status', arguments[index + 3], 'first_run_id', arguments[index + 4],
    'first_run_status', arguments[index + 5], 'start_time', arguments[index + 6],
    'end_time', arguments[index + 7], 'run_once', arguments[index + 8], 'project_hash', arguments[index + 9],
    'cycle', arguments[index + 10], 'seconds', arguments[index + 11], 'group', arguments[index + 12],
    'priority', arguments[index + 13], 'run_id', '')
  use_package(arguments[index + 9])
  move_job(name, '', arguments[index + 12])
  touch_job(name)
end
for _, before in ipairs({stored or old, old}) do
  redis.call('LREM', key('replaces'), 0, before)
  redis.call('LPUSH', key('replaces'), before)
end
redis.call('SET', key('incarnation'), new)
redis.call('SET', key('epoch'), text(floor + 1))
return {'ok', 1}
