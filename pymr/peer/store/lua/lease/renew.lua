-- ARGV: value of the lease, milliseconds to live. A lease that has ended is not brought back.
if redis.call('GET', ARGV[1] .. 'lease') ~= ARGV[2] then return {0} end
redis.call('SET', ARGV[1] .. 'lease', ARGV[2], 'PX', ARGV[3])
return {1}
