-- A job that recurs begins from `succeeded` or `skipped` as well; one that was to run once and has is in the
-- table for its group only. A call that was delayed on its way, and that
-- a later one of the same leader has overtaken, must not begin a run nobody waits for: thus the ordinal.
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
