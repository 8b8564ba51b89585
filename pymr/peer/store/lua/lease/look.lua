-- ARGV: incarnation and highest epoch the peer remembers, whether it competes, "BOOT PEER", milliseconds to
-- live, the incarnation to create where neither Redis nor the peer has any, highest change the peer remembers.
-- Answers: outcome (forgot, held, free or acquired), incarnation, epoch, value of the lease.
local prefix, known, epoch_known, competes = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local stored = redis.call('GET', prefix .. 'incarnation') or ''
local epoch = redis.call('GET', prefix .. 'epoch') or '0'

local function is_replaced()
  for _, before in ipairs(redis.call('LRANGE', prefix .. 'replaces', 0, -1)) do
    if before == known then return true end
  end
  return false
end

if stored == '' then
  if known ~= '' then return {'forgot', '', epoch, ''} end
  if not competes then return {'free', '', epoch, ''} end
  stored = ARGV[7]
  redis.call('SET', prefix .. 'incarnation', stored)
elseif known ~= '' and known ~= stored and not is_replaced() then
  return {'forgot', stored, epoch, ''}
end
local change = tonumber(redis.call('HGET', prefix .. 'counters', 'change') or '0')
local is_behind = known == stored and change < tonumber(ARGV[8])  -- although the epoch has not changed since
if tonumber(epoch) < epoch_known or is_behind then return {'forgot', stored, epoch, ''} end

local lease = redis.call('GET', prefix .. 'lease')
if lease then return {'held', stored, epoch, lease} end
if not competes then return {'free', stored, epoch, ''} end
epoch = string.format('%.0f', redis.call('INCR', prefix .. 'epoch'))
lease = epoch .. ' ' .. ARGV[5]
redis.call('SET', prefix .. 'lease', lease, 'PX', ARGV[6])
return {'acquired', stored, epoch, lease}
