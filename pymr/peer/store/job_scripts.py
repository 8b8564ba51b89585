"""Lua for every peer: jobs, packages, presence. Its keys and functions: `scripts.py`."""

from __future__ import annotations

# The jobs of a whole table are read beside it, in the same transaction. As of one that is whole there is told
# of many changes.
CHANGES = r"""
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
"""

# The first submission of all begins the first cycle. A job that comes into a group that has failed brings it
# back as a whole, and has its old place in it; it alone can be what the others were waiting for.
_QUEUEING = r"""
-- Queue a job in the place of the one of its name; gives the outcome. seconds: where that one has none.
local function queue_job(name, definition, project_hash, run_once, group, priority, seconds)
  local job = key('job:' .. name)
  local before = redis.call('HMGET', job, 'version', 'project_hash', 'group', 'seconds')
  local time, is_elsewhere = time_now(), before[3] and before[3] ~= group
  seconds = before[4] or seconds
  redis.call('HSETNX', key('counters'), 'cycle_began_at', time)
  redis.call('DEL', job)
  redis.call('HSET', job, 'version', next_number('version'), 'submitted_at', time, 'status', 'queued',
    'run_id', '', 'first_run_id', '', 'first_run_status', '', 'start_time', '', 'end_time', '',
    'run_once', run_once, 'project_hash', project_hash, 'cycle', '0', 'seconds', seconds, 'group', group,
    'priority', priority)
  redis.call('HSET', key('definitions'), name, definition)
  set_exception(name, '')
  use_package(project_hash)
  drop_package(before[2])
  redis.call('ZREM', key('tombstones'), name)
  move_job(name, before[3], group)
  touch_job(name)
  if group ~= '' and has_failed(group) then
    local members = group_members(group)
    for _, member in ipairs(members) do
      if member.name == name and before[1] and not is_elsewhere then member.version = tonumber(before[1]) end
    end
    queue_again(members)
  end
  if is_elsewhere then settle_group(before[3]) end
  local now = redis.call('HMGET', job, 'version', 'change')
  return table.concat({now[1], now[2], time, before[1] and 1 or 0, seconds}, ' ')
end

-- That another job stands there; it is told of with its definition, as that says whose it is.
local function conflict(name, version)
  return {'ok', 'conflict', version, redis.call('HGET', key('definitions'), name) or ''}
end
"""

# A refusal is not kept as the outcome of a request: it had no effect.
SUBMIT = (
    _QUEUEING
    + r"""
local refused = refusal()
if refused then return refused end
local id, over_version, name, definition, project_hash, run_once, group, priority = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local version = redis.call('HGET', key('job:' .. name), 'version') or '0'
if over_version ~= '' and over_version ~= version then return conflict(name, version) end
return keep_outcome(id, queue_job(name, definition, project_hash, run_once, group, priority, ''))
"""
)

DELETE = r"""
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
"""

UNDELETE = (
    _QUEUEING
    + r"""
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
"""
)

# name: of a job, which stands for its group, or of a group; of the latter where both have it and only that
# has failed.
RETRY = r"""
local refused = refusal()
if refused then return refused end
local id, name = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local job = redis.call('HMGET', key('job:' .. name), 'version', 'status', 'group')
local group = job[1] and (job[3] or '') or name
local is_alone = job[1] and group == ''
local can_retry = is_alone and job[2] == 'failed' or not is_alone and has_failed(group)
if not can_retry and has_failed(name) then group, is_alone, can_retry = name, false, true end
if not can_retry then
  local is_known = job[1] or redis.call('EXISTS', key('group:' .. group)) == 1
  return keep_outcome(id, is_known and 'not failed' or 'unknown')
end
local members = is_alone and {{name = name, version = tonumber(job[1]), priority = 0, status = job[2]}}
  or group_members(group)
local count = queue_again(members)
return keep_outcome(id, group == '' and 'queued' or string.format('queued %d jobs of group %s', count, group))
"""

FORCE = r"""
local refused = refusal()
if refused then return refused end
local id, name = unpack(arguments)
local earlier = earlier_outcome(id)
if earlier then return {'ok', earlier} end
local status = redis.call('HGET', key('job:' .. name), 'status')
if not status then return keep_outcome(id, 'unknown') end
if status == 'running' or status == 'failed' then return keep_outcome(id, status) end
if status ~= 'queued' then
  redis.call('HSET', key('job:' .. name), 'status', 'queued', 'cycle', '0')
  touch_job(name)
end
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
  tell(arguments[3])
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
