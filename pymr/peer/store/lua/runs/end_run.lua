-- A record of a run that is not known any more (trimmed from the history) is given back and not stored.
-- A job that runs once stays after its success until all of its group have run, so that a group that fails can
-- be retried as a whole. What a run has consumed counts with its success, whatever has become of its job: its
-- output is there. Of runs that were skipped one after another, the history keeps the last: a job that finds
-- nothing new, cycle after cycle, must not push what has run out of it. A run whose input changed while it was
-- read is as good as not begun: its job is due again, and who waits for its first run waits for the next one.
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
