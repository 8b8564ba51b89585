-- name: of a job, which stands for its group, or of a group; of the latter where both have it and only that
-- has failed.
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
