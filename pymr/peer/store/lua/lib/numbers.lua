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
