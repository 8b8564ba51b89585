local function is_active(id) return redis.call('SISMEMBER', key('active'), id) == 1 end
local function is_running(id)
  return is_active(id) and redis.call('HGET', key('run:' .. id), 'status') == 'running'
end

-- msgpack: an active run as `encoding.StoredRun` takes it.
local function packed_run(id)
  local run = redis.call('HMGET', key('run:' .. id), 'job_name', 'job_version', 'epoch', 'status',
    'start_time', 'definition', 'plan')
  return '\152' .. cmsgpack.pack(id, run[1], tonumber(run[2]), tonumber(run[3]), run[4], tonumber(run[5]))
    .. run[6] .. (run[7] or '\192')
end

-- msgpack: a run that has ended as `encoding.EndedRun` takes it.
local function packed_ended(record, end_time)
  return '\146' .. record .. cmsgpack.pack(tonumber(end_time))
end
