-- Its jobs, in no order.
local function group_members(group)
  local members = group == '' and {} or redis.call('SMEMBERS', key('group:' .. group))
  for index, name in ipairs(members) do
    local job = redis.call('HMGET', key('job:' .. name), 'version', 'priority', 'status')
    members[index] = {name = name, version = tonumber(job[1]), priority = tonumber(job[2]), status = job[3]}
  end
  return members
end

local function has_failed(group) return redis.call('EXISTS', key('failed:' .. group)) == 1 end

-- Queue those that do not run as new versions, in the order of the queue; gives how many.
local function queue_again(members)
  table.sort(members, function(one, other)
    if one.priority ~= other.priority then return one.priority > other.priority end
    return one.version < other.version
  end)
  local count = 0
  for _, job in ipairs(members) do
    if job.status ~= 'running' then
      redis.call('HSET', key('job:' .. job.name), 'version', next_number('version'), 'status', 'queued',
        'run_id', '', 'first_run_id', '', 'first_run_status', '', 'start_time', '', 'end_time', '',
        'cycle', '0', 'outdated', '')
      set_exception(job.name, '')
      touch_job(job.name)
      count = count + 1
    end
  end
  return count
end

-- Where all of a group have run in this cycle, let those leave that were to run once: see END_RUN.
local function settle_group(group)
  if not group or group == '' then return end
  local cycle, leaving = present_cycle(), {}
  for _, name in ipairs(redis.call('SMEMBERS', key('group:' .. group))) do
    local job = redis.call('HMGET', key('job:' .. name), 'status', 'run_once', 'cycle')
    if job[1] == 'succeeded' and job[2] == '1' then
      leaving[#leaving + 1] = name
    elseif (job[1] ~= 'succeeded' and job[1] ~= 'skipped') or tonumber(job[3]) < cycle then
      return
    end
  end
  for _, name in ipairs(leaving) do remove_job(name) end
end
