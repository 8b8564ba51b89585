local function use_package(hash)
  if hash == '' then return end
  redis.call('HINCRBY', key('package_uses'), hash, 1)
  redis.call('PERSIST', key('package:' .. hash))
end
local function drop_package(hash)
  if not hash or hash == '' or redis.call('HINCRBY', key('package_uses'), hash, -1) > 0 then return end
  redis.call('HDEL', key('package_uses'), hash)
  redis.call('EXPIRE', key('package:' .. hash), PACKAGE_SECONDS)
end

-- msgpack: a job as `encoding.StoredJob` takes it. No field is missing, so none of them is false.
local function packed_job(name)
  local job = redis.call('HMGET', key('job:' .. name), 'version', 'change', 'submitted_at', 'status',
    'run_id', 'first_run_id', 'first_run_status', 'start_time', 'end_time', 'cycle', 'seconds', 'outdated')
  return '\157' .. cmsgpack.pack(name, tonumber(job[1]), tonumber(job[2]), tonumber(job[3]), job[4], job[5],
    job[6], job[7], tonumber(job[8]) or 0, tonumber(job[9]) or 0, tonumber(job[10]), tonumber(job[11]) or 0,
    job[12] or '')
end

-- Why a job has failed; '' for one that has not.
local function set_exception(name, exception)
  if exception == '' then
    redis.call('HDEL', key('exceptions'), name)
  else
    redis.call('HSET', key('exceptions'), name, exception)
  end
end

-- The job has changed: give it the next number. Called after every change of job:NAME.
local function touch_job(name)
  local change = next_number('change')
  redis.call('HSET', key('job:' .. name), 'change', change)
  redis.call('ZADD', key('changes'), change, name)
  redis.call('HSET', key('packed_jobs'), name, packed_job(name))
  local job = redis.call('HMGET', key('job:' .. name), 'group', 'status')
  if job[1] and job[1] ~= '' then
    redis.call(job[2] == 'failed' and 'SADD' or 'SREM', key('failed:' .. job[1]), name)
  end
end

local function trim_tombstones()
  local excess = redis.call('ZCARD', key('tombstones')) - TOMBSTONES_MAX
  if excess <= 0 then return end
  local last = redis.call('ZRANGE', key('tombstones'), excess - 1, excess - 1, 'WITHSCORES')
  redis.call('HSET', key('counters'), 'trimmed', last[2])
  redis.call('ZREMRANGEBYRANK', key('tombstones'), 0, excess - 1)
end

-- What the job has consumed has changed.
local function set_state(name, state)
  redis.call('HSET', key('states'), name, state)
  redis.call('ZADD', key('states_changes'), next_number('change'), name)
end

-- Put a job into no group, or into that one.
local function move_job(name, old, new)
  if old and old ~= '' and old ~= new then
    redis.call('SREM', key('group:' .. old), name)
    redis.call('SREM', key('failed:' .. old), name)
  end
  if new ~= '' then redis.call('SADD', key('group:' .. new), name) end
end

local function forget_job(name)
  local job = redis.call('HMGET', key('job:' .. name), 'project_hash', 'group')
  drop_package(job[1])
  move_job(name, job[2], '')
  redis.call('DEL', key('job:' .. name))
  redis.call('HDEL', key('packed_jobs'), name)
  redis.call('HDEL', key('definitions'), name)
  redis.call('HDEL', key('exceptions'), name)
  redis.call('ZREM', key('changes'), name)
end

-- Keep a job that is about to leave as somebody deletes it. Its package stays without being counted as used:
-- it goes later than this does.
local function keep_deleted(name)
  local kept = key('deleted:' .. name)
  redis.call('COPY', key('job:' .. name), kept, 'REPLACE')
  redis.call('HSET', kept, 'definition', redis.call('HGET', key('definitions'), name))
  redis.call('EXPIRE', kept, UNDELETE_SECONDS)
  redis.call('ZADD', key('deleted'), text(counter('change')), name)
  redis.call('EXPIRE', key('deleted'), UNDELETE_SECONDS)
  local excess = redis.call('ZCARD', key('deleted')) - DELETED_MAX
  if excess <= 0 then return end
  local oldest = redis.call('ZPOPMIN', key('deleted'), excess)
  for index = 1, #oldest, 2 do redis.call('DEL', key('deleted:' .. oldest[index])) end
end

local function forget_deleted(name)
  redis.call('DEL', key('deleted:' .. name))
  redis.call('ZREM', key('deleted'), name)
end

local function remove_job(name)
  forget_job(name)
  redis.call('ZADD', key('tombstones'), next_number('change'), name)
  trim_tombstones()
end
