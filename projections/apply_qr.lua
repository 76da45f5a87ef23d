-- Keep a session's QR code until it expires.
--
-- KEYS  1 QR code (hash)
-- ARGV  1 code   2 attempt   3 when it expires   4 when it was told, in ms
--       5 when it expires, in ms
-- Returns 'applied', or 'seen' when a later one is held: a projector that was frozen
-- may still have an earlier one to tell.

local told = tonumber(redis.call('HGET', KEYS[1], 'told') or '0')
if told > tonumber(ARGV[4]) then
    return 'seen'
end
redis.call('HSET', KEYS[1], 'code', ARGV[1], 'attempt', ARGV[2], 'expires', ARGV[3], 'told', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ARGV[5])
return 'applied'
