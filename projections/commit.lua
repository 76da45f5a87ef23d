-- Move the positions forward, unless Redis lost what was there.
--
-- KEYS  one hash for each projection
-- ARGV  1 time, then for each key: position we had, position reached, why stopped or ''
-- Returns 'kept', or 'lost' when Redis holds less than was written: it was
-- flushed, or came back from a crash without its last second. Then nothing is
-- written, or the newer position would hide what is missing below it.

for i, key in ipairs(KEYS) do
    local held = tonumber(redis.call('HGET', key, 'position') or '-1')
    if held < tonumber(ARGV[3 * i - 1]) then
        return 'lost'
    end
end
for i, key in ipairs(KEYS) do
    local held = tonumber(redis.call('HGET', key, 'position'))
    local reached = tonumber(ARGV[3 * i])
    -- Two projectors may be at work; the one ahead has applied all below its position.
    redis.call('HSET', key, 'position', math.max(held, reached), 'updated', ARGV[1], 'stopped', ARGV[3 * i + 1])
end
return 'kept'
