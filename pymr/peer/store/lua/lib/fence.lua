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
