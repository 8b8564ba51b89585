"""The Lua that changes the state of a cluster in Redis, and above it the schema of the keys.

Nothing is ever popped: one call moves a thing from one state to the next. Used by
`pymr.peer.store.store` only.

Keys, each below `pymr:CLUSTER:`. Needs Redis 6.2, and no Redis Cluster, as scripts put keys together.

    incarnation      string  id of this life of the cluster's state; missing in a Redis that forgot
    replaces         list    the incarnations before it, the latest first
    epoch            string  number of the latest leadership; only ever rises
    lease            string  `EPOCH BOOT PEER` of the leader; expires (see lease.py)
    peers            set     names of peers that were ever present
    presence:PEER    string  boot of a peer that is present; expires
    paused           string  "1" while no runs are to be started
    counters         hash    change, version, run: the last numbers given; trimmed: highest change of the
                             tombstones dropped; begin_epoch, begin_ordinal: of the last run begun; cycle,
                             cycle_began_at: of the present one
    job:NAME         hash    version change submitted_at status run_id first_run_id first_run_status
                             start_time end_time run_once project_hash cycle seconds group priority
                             outdated; "": none
    definitions      hash    name of each job in the table -> opaque Definition
    exceptions       hash    name of each job that has failed -> why
    group:NAME       set     names of the jobs in the table that have this group_name
    failed:NAME      set     those of them that have failed
    packed_jobs      hash    name of each job in the table -> most of job:NAME as msgpack, for quick reading
    changes          zset    name of each job in the table -> number of its last change
    tombstones       zset    name of a job that left the table -> number of that change
    deleted:NAME     hash    job:NAME as it was when somebody deleted it, and its definition; expires
    deleted          zset    name of each of those -> the last change before it left; those that have expired
                             stay in it until newer ones need their place, or it expires itself
    request:INCARNATION:ID   string  outcome of a console's request; expires
    package:HASH     string  a project, zipped; expires a day after it was last asked for unless a job uses it
    package_uses     hash    package -> number of jobs in the table that use it
    active           set     ids of the runs that have not ended
    run:ID           hash    job_name job_version epoch status start_time; until it ends, definition and plan:
                             opaque; then end_time, and record: opaque
    tasks:ID         hash    of an active run: task -> `ATTEMPT DIGEST ` and the opaque Committed
    released:ID      hash    of an active run: map task -> digest of its output that was lost;
                             step -> number of its last attempt that may have read what was lost
    attempts:ID      hash    of an active run: step -> `NUMBER TOKEN` of its last attempt, and of who asked
    states           hash    name of a job with hold_state, or that adds to its output -> opaque JobState of
                             its last run that succeeded; it stays when the job leaves the table. Also of a
                             job whose output a run has torn, or a peer has not yet shown
    states_changes   zset    name of each of those -> number of the change that set it
    history          zset    id of each run that has ended -> its start_time
    history:NAME     zset    the same for one job
    events           stream  `event`: opaque; capped
    events_token     string  of the last batch of events added

No script touches the long texts of many jobs: Lua 5.1 looks at every 32nd character of a text of 1,000 to
tell it from others, so that 10,000 jobs that differ by little but their names took 0.6 s and more, with Redis
standing still. They have hashes of their own, which are read and written as they are, in one transaction with
the script: see Store.changes, Store.recover.
What is opaque was encoded as msgpack by `encoding`; replies are assembled from it without decoding.
A script's ARGV: prefix of keys, incarnation ("" for any), epoch of a leader ("" for others), the highest
epoch and the last change of that incarnation that the peer knows of, then its own, which it finds in
`arguments`. It answers {'ok', ...}, {'forgot', incarnation, epoch} or {'stale', epoch}.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymr.wire.requests import UNDELETE_SECONDS


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the past is kept. Higher: more memory in Redis.

    tombstones: a peer that missed more deletions than these reads the whole table. deleted_jobs: so many can
    be put back, those deleted last. package_seconds: at least undelete_seconds, as a job that is put back
    needs its project. Others: see their names.
    """

    tombstones: int = 10_000
    history_runs: int = 10_000
    events: int = 10_000
    request_seconds: int = 86_400
    package_seconds: int = 86_400
    deleted_jobs: int = 1_000
    undelete_seconds: int = int(UNDELETE_SECONDS)


DEFAULT_LIMITS = Limits()


def script_text(body: str, limits: Limits) -> str:
    """A whole script: what all of them begin with, and its body."""
    constants = (
        f"local TOMBSTONES_MAX, HISTORY_MAX, EVENTS_MAX = "
        f"{limits.tombstones}, {limits.history_runs}, {limits.events}\n"
        f"local REQUEST_SECONDS, PACKAGE_SECONDS = {limits.request_seconds}, {limits.package_seconds}\n"
        f"local DELETED_MAX, UNDELETE_SECONDS = {limits.deleted_jobs}, {limits.undelete_seconds}\n"
    )
    return constants + _FENCE + _EVENTS + _NUMBERS + _JOBS + _GROUPS + _RUNS + body


_FENCE = r"""
local prefix, incarnation, epoch = ARGV[1], ARGV[2], ARGV[3]
local epoch_known, change_known = tonumber(ARGV[4]), tonumber(ARGV[5])
local arguments = {}
for index = 6, #ARGV do arguments[index - 5] = ARGV[index] end
local function key(name) return prefix .. name end

-- Why this call must not have any effect; nil if it may.
local function refusal()
  local stored = redis.call('GET', key('incarnation'))
  local now = redis.call('GET', key('epoch')) or '0'
  if not stored or (incarnation ~= '' and stored ~= incarnation) then return {'forgot', stored or '', now} end
  local change = tonumber(redis.call('HGET', key('counters'), 'change') or '0')
  local is_older = tonumber(now) < epoch_known or change < change_known
  if incarnation ~= '' and is_older then return {'forgot', stored, now} end
  if epoch == '' then return nil end
  if tonumber(now) < tonumber(epoch) then return {'forgot', stored, now} end
  local lease = redis.call('GET', key('lease'))
  local holder = lease and string.match(lease, '^%d+') or now
  if now ~= epoch or holder ~= epoch then return {'stale', now} end
  return nil
end
"""

_EVENTS = r"""
-- Put an event into the stream; "" is none.
local function tell(event)
  if event and event ~= '' then
    redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_MAX, '*', 'event', event)
  end
end
"""

_NUMBERS = r"""
local function text(number) return string.format('%.0f', number) end
local function next_number(counter) return text(redis.call('HINCRBY', key('counters'), counter, 1)) end
local function counter(name) return tonumber(redis.call('HGET', key('counters'), name) or '0') end
local function present_cycle() return math.max(counter('cycle'), 1) end
local function time_now()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end

-- msgpack: an array of values that are encoded already.
local function packed_array(values)
  return '\221' .. struct.pack('>I4', #values) .. table.concat(values)
end

-- The outcome of a request that was done before; nil for a new one.
local function earlier_outcome(id)
  return redis.call('GET', key('request:' .. incarnation .. ':' .. id)) or nil
end
local function keep_outcome(id, outcome)
  redis.call('SET', key('request:' .. incarnation .. ':' .. id), outcome, 'EX', REQUEST_SECONDS)
  return {'ok', outcome}
end
"""

_JOBS = r"""
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

-- msgpack: a job as `store_records.StoredJob` takes it. No field is missing, so none of them is false.
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
"""

_GROUPS = r"""
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
"""

_RUNS = r"""
local function is_active(id) return redis.call('SISMEMBER', key('active'), id) == 1 end
local function is_running(id)
  return is_active(id) and redis.call('HGET', key('run:' .. id), 'status') == 'running'
end

-- msgpack: an active run as `store_records.StoredRun` takes it.
local function packed_run(id)
  local run = redis.call('HMGET', key('run:' .. id), 'job_name', 'job_version', 'epoch', 'status',
    'start_time', 'definition', 'plan')
  return '\152' .. cmsgpack.pack(id, run[1], tonumber(run[2]), tonumber(run[3]), run[4], tonumber(run[5]))
    .. run[6] .. (run[7] or '\192')
end

-- msgpack: a run that has ended as `store_records.EndedRun` takes it.
local function packed_ended(record, end_time)
  return '\146' .. record .. cmsgpack.pack(tonumber(end_time))
end
"""
