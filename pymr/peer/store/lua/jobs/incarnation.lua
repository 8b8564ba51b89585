return {'ok', redis.call('GET', key('incarnation')) or '', redis.call('GET', key('epoch')) or '0',
  unpack(redis.call('LRANGE', key('replaces'), 0, 99))}
