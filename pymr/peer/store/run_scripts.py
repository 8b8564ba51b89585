"""Lua of the leader: cycles, runs and their tasks, history, events. Its keys and functions:
`scripts.py`."""

from __future__ import annotations

BEGIN_CYCLE = r"""
local refused = refusal()
if refused then return refused end
local cycle = present_cycle()
if tonumber(arguments[1]) == cycle then
  cycle = cycle + 1
  redis.call('HSET', key('counters'), 'cycle', text(cycle), 'cycle_began_at', time_now())
  next_number('change')
end
return {'ok', text(cycle)}
"""

LEAVE_QUEUE = r"""
local refused = refusal()
if refused then return refused end
local name, version = unpack(arguments)
local job = redis.call('HMGET', key('job:' .. name), 'version', 'status', 'group')
local leaves = job[1] == version and job[2] == 'failed' and job[3] == ''
if leaves then remove_job(name) end
return {'ok', leaves and 1 or 0}
"""

# A job that recurs begins from `succeeded` or `skipped` as well; one that was to run once and has is in the
# table for its group only. A call that was delayed on its way, and that
# a later one of the same leader has overtaken, must not begin a run nobody waits for: thus the ordinal.
BEGIN_RUN = r"""
local refused = refusal()
if refused then return refused end
local name, version, ordinal, opens_cycle = unpack(arguments)
-- Asked for again after a lost reply: the run has to be led, and ended, whatever has become of its job since.
for _, id in ipairs(redis.call('SMEMBERS', key('active'))) do
  local run = redis.call('HMGET', key('run:' .. id), 'job_name', 'job_version', 'epoch')
  if run[1] == name and run[2] == version and run[3] == epoch then return {'ok', packed_run(id)} end
end
local job = redis.call('HMGET', key('job:' .. name), 'version', 'status', 'run_id', 'first_run_id',
  'run_once')
if job[1] ~= version then return {'ok'} end
if job[2] == 'running' then return is_active(job[3]) and {'ok', packed_run(job[3])} or {'ok'} end
if job[2] == 'failed' or (job[2] == 'succeeded' and job[5] == '1') then return {'ok'} end
local begun = redis.call('HMGET', key('counters'), 'begin_epoch', 'begin_ordinal')
if begun[1] == epoch and tonumber(ordinal) < tonumber(begun[2]) then return {'ok'} end
redis.call('HSET', key('counters'), 'begin_epoch', epoch, 'begin_ordinal', ordinal)
local id, time = string.format('%s-%06d', name, next_number('run')), time_now()
redis.call('HSET', key('run:' .. id), 'job_name', name, 'job_version', version, 'epoch', epoch,
  'status', 'running', 'start_time', time, 'definition', redis.call('HGET', key('definitions'), name))
redis.call('SADD', key('active'), id)
redis.call('HSET', key('job:' .. name), 'status', 'running', 'run_id', id, 'start_time', time, 'end_time', '',
  'first_run_id', job[4] == '' and id or job[4], 'cycle', text(present_cycle()))
if opens_cycle == '1' then redis.call('HSET', key('counters'), 'cycle_began_at', time) end
touch_job(name)
return {'ok', packed_run(id)}
"""

# The token is of whoever asks: asked for again after a lost reply, it is the same attempt.
BEGIN_ATTEMPT = r"""
local refused = refusal()
if refused then return refused end
local id, task, token = unpack(arguments)
if not is_running(id) then return {'ok', 0} end
local number, before = string.match(redis.call('HGET', key('attempts:' .. id), task) or '', '^(%d+) (.*)$')
number = tonumber(number or '0')
if before ~= token then
  number = number + 1
  redis.call('HSET', key('attempts:' .. id), task, text(number) .. ' ' .. token)
end
return {'ok', number}
"""

SAVE_PLAN = r"""
local refused = refusal()
if refused then return refused end
local id, plan = unpack(arguments)
if not is_active(id) then return {'ok', 0} end
redis.call('HSETNX', key('run:' .. id), 'plan', plan)
return {'ok', redis.call('HGET', key('run:' .. id), 'plan') == plan and 1 or 0}
"""

COMMIT_TASKS = r"""
local refused = refusal()
if refused then return refused end
local id, counting = arguments[1], {'ok'}
local running = is_running(id)
for index = 2, #arguments, 3 do
  local task, attempt, committed = arguments[index], arguments[index + 1], arguments[index + 2]
  if running and redis.call('HSETNX', key('tasks:' .. id), task, committed) == 0 then
    attempt = string.match(redis.call('HGET', key('tasks:' .. id), task), '^%S+')
  end
  counting[#counting + 1] = running and attempt or ''
end
return counting
"""

RELEASE_TASKS = r"""
local refused = refusal()
if refused then return refused end
local id, void = arguments[1], 3 + 2 * tonumber(arguments[2])
if not is_running(id) then return {'ok'} end
for index = 3, void - 1, 2 do
  local task = arguments[index]
  local attempt, digest = string.match(redis.call('HGET', key('tasks:' .. id), task) or '', '^(%S+) (%S*) ')
  if attempt == arguments[index + 1] then
    redis.call('HDEL', key('tasks:' .. id), task)
    if digest ~= '' then redis.call('HSET', key('released:' .. id), task, digest) end
  end
end
for index = void, #arguments, 2 do
  local task, number = arguments[index], tonumber(arguments[index + 1])
  if number > tonumber(redis.call('HGET', key('released:' .. id), task) or '0') then
    redis.call('HSET', key('released:' .. id), task, text(number))
  end
end
return {'ok'}
"""

BEGIN_PUBLICATION = r"""
local refused = refusal()
if refused then return refused end
if not is_active(arguments[1]) then return {'ok', 0} end
redis.call('HSET', key('run:' .. arguments[1]), 'status', 'publishing')
return {'ok', 1}
"""

# A record of a run that is not known any more (trimmed from the history) is given back and not stored.
# A job that runs once stays after its success until all of its group have run, so that a group that fails can
# be retried as a whole. What a run has consumed counts with its success, whatever has become of its job: its
# output is there. Of runs that were skipped one after another, the history keeps the last: a job that finds
# nothing new, cycle after cycle, must not push what has run out of it. A run whose input changed while it was
# read is as good as not begun: its job is due again, and who waits for its first run waits for the next one.
END_RUN = r"""
local function drop_record(id)
  redis.call('ZREM', key('history:' .. redis.call('HGET', key('run:' .. id), 'job_name')), id)
  redis.call('ZREM', key('history'), id)
  redis.call('DEL', key('run:' .. id))
end

local function trim_history()
  local excess = redis.call('ZCARD', key('history')) - HISTORY_MAX
  if excess <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', key('history'), 0, excess - 1)) do drop_record(id) end
end

-- Of the job's run before this one: where it was skipped as well, this one stands for both.
local function join_skipped(name, id)
  local history = key('history:' .. name)
  local place = redis.call('ZREVRANK', history, id)
  local before = redis.call('ZREVRANGE', history, place + 1, place + 1)[1]
  if before and redis.call('HGET', key('run:' .. before), 'status') == 'skipped' then drop_record(before) end
end

local function end_job(name, version, id, began, status, exception, group_failure, time, outdated)
  local job = redis.call('HMGET', key('job:' .. name), 'version', 'run_id', 'first_run_id', 'run_once',
    'group', 'seconds')
  if job[1] ~= version or job[2] ~= id or status == 'deleted' or status == 'replaced' then return end
  redis.call('HSET', key('job:' .. name), 'outdated', outdated)
  if status == 'outdated' then
    redis.call('HSET', key('job:' .. name), 'status', 'queued', 'run_id', '', 'start_time', '',
      'end_time', '', 'first_run_id', job[3] == id and '' or job[3])
    set_exception(name, '')
    return touch_job(name)
  end
  if status == 'succeeded' and job[4] == '1' and (job[5] or '') == '' then return remove_job(name) end
  redis.call('HSET', key('job:' .. name), 'status', status, 'end_time', time)
  set_exception(name, exception)
  if job[3] == id then redis.call('HSET', key('job:' .. name), 'first_run_status', status) end
  if status == 'succeeded' then
    local took, before = math.max(tonumber(time) - tonumber(began), 0), tonumber(job[6])
    local seconds = string.format('%.6f', before and (before + took) / 2 or took)
    redis.call('HSET', key('job:' .. name), 'seconds', seconds)
  end
  touch_job(name)
  if status ~= 'failed' then return settle_group(job[5]) end
  for _, other in ipairs(group_members(job[5] or '')) do
    if other.status ~= 'failed' and other.status ~= 'running' then
      redis.call('HSET', key('job:' .. other.name), 'status', 'failed')
      set_exception(other.name, group_failure)
      touch_job(other.name)
    end
  end
end

local refused = refusal()
if refused then return refused end
local id, status, exception, group_failure, record, state, outdated = unpack(arguments)
local run = redis.call('HMGET', key('run:' .. id), 'job_name', 'job_version', 'start_time', 'record',
  'end_time')
if run[4] then return {'ok', packed_ended(run[4], run[5])} end
local time = time_now()
if not is_active(id) then return {'ok', packed_ended(record, time)} end
redis.call('HSET', key('run:' .. id), 'status', status, 'end_time', time, 'record', record)
redis.call('HDEL', key('run:' .. id), 'definition', 'plan')
redis.call('SREM', key('active'), id)
redis.call('DEL', key('tasks:' .. id), key('released:' .. id), key('attempts:' .. id))
redis.call('ZADD', key('history'), run[3], id)
redis.call('ZADD', key('history:' .. run[1]), run[3], id)
if state ~= '' then set_state(run[1], state) end
if status == 'skipped' then join_skipped(run[1], id) end
end_job(run[1], run[2], id, run[3], status, exception, group_failure, time, outdated)
trim_history()
return {'ok', packed_ended(record, time)}
"""

ACTIVE_RUNS = r"""
local refused = refusal()
if refused then return refused end
local runs = redis.call('SMEMBERS', key('active'))
for index, id in ipairs(runs) do runs[index] = packed_run(id) end
return {'ok', packed_array(runs)}
"""

HISTORY = r"""
local name = arguments[1] == '' and 'history' or 'history:' .. arguments[1]
local start = tonumber(arguments[3])
local runs = redis.call('ZREVRANGE', key(name), start, start + tonumber(arguments[2]) - 1)
for index, id in ipairs(runs) do
  local run = redis.call('HMGET', key('run:' .. id), 'record', 'end_time')
  runs[index] = packed_ended(run[1], run[2])
end
return {'ok', packed_array(runs)}
"""

ADD_EVENTS = r"""
local refused = refusal()
if refused then return refused end
if redis.call('GET', key('events_token')) == arguments[1] then return {'ok'} end
for index = 2, #arguments do tell(arguments[index]) end
redis.call('SET', key('events_token'), arguments[1])
return {'ok'}
"""
