-- The first submission of all begins the first cycle. A job that comes into a group that has failed brings it
-- back as a whole, and has its old place in it; it alone can be what the others were waiting for.
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
