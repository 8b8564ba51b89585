-- ARGV: value of the lease.
if redis.call('GET', ARGV[1] .. 'lease') == ARGV[2] then redis.call('DEL', ARGV[1] .. 'lease') end
return {1}
