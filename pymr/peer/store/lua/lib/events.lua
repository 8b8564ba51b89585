-- Put an event into the stream; "" is none.
local function tell(event)
  if event and event ~= '' then
    redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_MAX, '*', 'event', event)
  end
end
