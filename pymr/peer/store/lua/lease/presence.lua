-- ARGV: peer, its boot, milliseconds to live; 0 for one that leaves.
local presence = ARGV[1] .. 'presence:' .. ARGV[2]
if ARGV[4] == '0' then
  redis.call('DEL', presence)
else
  redis.call('SADD', ARGV[1] .. 'peers', ARGV[2])
  redis.call('SET', presence, ARGV[3], 'PX', ARGV[4])
end
return {1}
