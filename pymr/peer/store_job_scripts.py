"""Lua for every peer: jobs, packages, presence, recovery. Its keys and functions: `store_scripts.py`."""

from __future__ import annotations

CHANGES = r"""
local refused = refusal()
if refused then return refused end
local after, change = tonumber(arguments[1]), counter('change')
local is_whole = after == 0 or after < counter('trimmed') or after > change
local since = is_whole and '-inf' or '(' .. arguments[1]
local jobs
if is_whole then
  jobs = redis.call('HVALS', key('packed_jobs'))
else
  jobs = redis.call('ZRANGEBYSCORE', key('changes'), since, '+inf')
  for index, name in ipairs(jobs) do jobs[index] = redis.call('HGET', key('packed_jobs'), name) end
end
local deleted = is_whole and {} or redis.call('ZRANGEBYSCORE', key('tombstones'), since, '+inf')
local paused = redis.call('EXISTS', key('paused'))
return {'ok', text(change), is_whole and 1 or 0, paused, packed_array(jobs), deleted}
"""

SUBMIT = r"""
local refused = refusal()
if refused then return refused end
local id, name, definition, project_hash, run_once = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local job = key('job:' .. name)
local replaced = redis.call('EXISTS', job)
local replaced_hash = redis.call('HGET', job, 'project_hash')
local version, time = next_number('version'), time_now()
redis.call('DEL', job)
redis.call('HSET', job, 'version', version, 'submitted_at', time, 'status', 'queued', 'run_id', '',
  'first_run_id', '', 'first_run_status', '', 'start_time', '', 'end_time', '', 'exception', '',
  'run_once', run_once, 'project_hash', project_hash, 'definition', definition)
use_package(project_hash)
drop_package(replaced_hash)
redis.call('ZREM', key('tombstones'), name)
return keep_outcome(id, version .. ' ' .. touch_job(name) .. ' ' .. time .. ' ' .. replaced)
"""

DELETE = r"""
local refused = refusal()
if refused then return refused end
local id, name = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local existed = redis.call('EXISTS', key('job:' .. name))
if existed == 1 then remove_job(name) end
return keep_outcome(id, text(existed))
"""

RETRY = r"""
local refused = refusal()
if refused then return refused end
local id, name = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local status = redis.call('HGET', key('job:' .. name), 'status')
if not status then return keep_outcome(id, 'unknown') end
if status ~= 'failed' then return keep_outcome(id, 'not failed') end
redis.call('HSET', key('job:' .. name), 'version', next_number('version'), 'status', 'queued', 'run_id', '',
  'first_run_id', '', 'first_run_status', '', 'start_time', '', 'end_time', '', 'exception', '')
touch_job(name)
return keep_outcome(id, 'queued')
"""

PAUSE = r"""
local refused = refusal()
if refused then return refused end
local id, paused = arguments[1], tonumber(arguments[2])
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
if redis.call('EXISTS', key('paused')) ~= paused then
  if paused == 1 then redis.call('SET', key('paused'), '1') else redis.call('DEL', key('paused')) end
  next_number('change')
end
return keep_outcome(id, 'done')
"""

PUT_PACKAGE = r"""
local package = key('package:' .. arguments[1])
if redis.call('EXISTS', package) == 0 then redis.call('SET', package, arguments[2]) end
if redis.call('HEXISTS', key('package_uses'), arguments[1]) == 0 then
  redis.call('EXPIRE', package, PACKAGE_SECONDS)
end
return {'ok'}
"""

HAS_PACKAGE = r"""
local package = key('package:' .. arguments[1])
if redis.call('TTL', package) >= 0 then redis.call('EXPIRE', package, PACKAGE_SECONDS) end
return {'ok', redis.call('EXISTS', package)}
"""

INCARNATION = r"""
return {'ok', redis.call('GET', key('incarnation')) or '', redis.call('GET', key('epoch')) or '0',
  unpack(redis.call('LRANGE', key('replaces'), 0, 99))}
"""

PRESENT = r"""
local present = {'ok'}
for _, peer in ipairs(redis.call('SMEMBERS', key('peers'))) do
  if redis.call('EXISTS', key('presence:' .. peer)) == 1 then present[#present + 1] = peer end
end
return present
"""

# Jobs of another incarnation, one that began on an empty Redis, were submitted to it and stay; those of an
# old backup do not, as they may have been deleted since. All numbers go on far above any that were given.
RECOVER = r"""
local JOB_FIELDS = 11
local MARGIN = 1000
local old, new, floor, change = arguments[1], arguments[2], tonumber(arguments[3]), tonumber(arguments[4])
local stored = redis.call('GET', key('incarnation'))
if stored == new then return {'ok', 1} end
local is_behind = stored == old and counter('change') < change
if stored and tonumber(redis.call('GET', key('epoch')) or '0') >= floor and not is_behind then
  return {'ok', 0}
end

for _, id in ipairs(redis.call('SMEMBERS', key('active'))) do
  redis.call('DEL', key('run:' .. id), key('tasks:' .. id), key('released:' .. id))
end
for _, name in ipairs(redis.call('ZRANGE', key('changes'), 0, -1)) do
  local job = key('job:' .. name)
  if stored and stored ~= old then
    if redis.call('HGET', job, 'status') == 'running' then
      redis.call('HSET', job, 'status', 'queued', 'run_id', '', 'start_time', '')
    end
    if redis.call('HGET', job, 'first_run_status') == '' then redis.call('HSET', job, 'first_run_id', '') end
    touch_job(name)
  else
    drop_package(redis.call('HGET', job, 'project_hash'))
    redis.call('DEL', job)
    redis.call('HDEL', key('packed_jobs'), name)
    redis.call('ZREM', key('changes'), name)
  end
end
redis.call('DEL', key('active'), key('tombstones'), key('lease'))

local number = math.max(change, counter('change'), counter('version'), counter('run')) + MARGIN
for index = 5, #arguments, JOB_FIELDS + 1 do
  number = math.max(number, tonumber(arguments[index + 1]) + MARGIN)
end
redis.call('HSET', key('counters'), 'change', text(number), 'version', text(number), 'run', text(number),
  'trimmed', text(number))
for index = 5, #arguments, JOB_FIELDS + 1 do
  local name, job = arguments[index], key('job:' .. arguments[index])
  drop_package(redis.call('HGET', job, 'project_hash'))
  redis.call('DEL', job)
  redis.call('HSET', job, 'version', arguments[index + 1], 'submitted_at', arguments[index + 2],
    'status', arguments[index + 3], 'first_run_id', arguments[index + 4],
    'first_run_status', arguments[index + 5], 'start_time', arguments[index + 6],
    'end_time', arguments[index + 7], 'exception', arguments[index + 8], 'run_once', arguments[index + 9],
    'project_hash', arguments[index + 10], 'definition', arguments[index + 11], 'run_id', '')
  use_package(arguments[index + 10])
  touch_job(name)
end
for _, before in ipairs({stored or old, old}) do
  redis.call('LREM', key('replaces'), 0, before)
  redis.call('LPUSH', key('replaces'), before)
end
redis.call('SET', key('incarnation'), new)
redis.call('SET', key('epoch'), text(floor + 1))
return {'ok', 1}
"""
