-- Write a session's row if it still has the version it was folded from.
--
-- The fold itself is events.session.evolve, in Python: a second copy of the
-- state machine here would one day differ from the first. What must be atomic
-- is the guard with the write, and that is this script: the version is compared
-- and the row replaced in one step, so of two projectors that fold the same
-- events one writes and the other is told to fold again from what is held.
--
-- KEYS  1 row (hash)  2 history (sorted set)  3 QR code (hash)
-- ARGV  1 version folded from   2 version reached   3 its position   4 state   5 row
--       6 position of a `registered` or `removed` among the events, or ''
--       7 forget a QR code told up to this time in ms, or ''
--       8 9 10 11 totals a session event carried: message version, received, sent, failed, or ''
-- Returns 'applied', or 'moved' when the row has another version by now.

local row, history, qr = KEYS[1], KEYS[2], KEYS[3]
if (redis.call('HGET', row, 'version') or '0') ~= ARGV[1] then
    return 'moved'
end

if ARGV[6] ~= '' then
    -- A life ended or began. Entries have the row's hash tag, so they live in its slot.
    for _, entry in ipairs(redis.call('ZRANGE', history, 0, -1)) do
        redis.call('UNLINK', row .. ':m:' .. entry)
    end
    redis.call('UNLINK', history, row)
    redis.call('HSET', row, 'born', ARGV[6])
end

if ARGV[7] ~= '' then
    -- A code told later belongs to a later pairing, whose events are still on their way.
    local told = tonumber(redis.call('HGET', qr, 'told') or '0')
    if told <= tonumber(ARGV[7]) then
        redis.call('UNLINK', qr)
    end
end

-- What is left of a removed session is its tombstone: the version goes on.
redis.call('HSET', row, 'version', ARGV[2], 'position', ARGV[3], 'state', ARGV[4])
if ARGV[4] == 'removed' then
    return 'applied'
end
redis.call('HSET', row, 'row', ARGV[5])

if ARGV[8] ~= '' then
    local stated = tonumber(ARGV[8])
    local held = redis.call('HMGET', row, 'message_version', 'counted')
    local newest = math.max(tonumber(held[1] or '0'), tonumber(held[2] or '0'))
    for i, name in ipairs({ 'received', 'sent', 'failed' }) do
        local value = tonumber(ARGV[8 + i])
        if stated < newest then
            -- Stated before the newest message we counted: it can only tell us of
            -- messages that had expired before we could count them.
            value = math.max(value, tonumber(redis.call('HGET', row, name) or '0'))
        end
        redis.call('HSET', row, name, value)
    end
    redis.call('HSET', row, 'counted', math.max(stated, tonumber(held[2] or '0')))
end
return 'applied'
