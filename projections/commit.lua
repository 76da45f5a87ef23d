-- Move the positions forward, unless Redis lost what was there.
--
-- KEYS  one hash for each projection
-- ARGV  1 time   2 ids of the servers' memories when this was opened, see events/redis.py,
--       then for each key: position we had, position reached, why stopped or ''
-- Returns 'kept', or 'lost' when Redis holds less than was written: it was
-- flushed, came back from a crash without its last second, or a copy took over
-- that had not been told all. Then nothing is written, or the newer position
-- would hide what is missing below it.

-- A position that is as it should be proves nothing if a copy took over between the rows
-- and this: it had the last position, and not the rows that were written after it.
local memory = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local known = string.find(ARGV[2], memory, 1, true)
for i, key in ipairs(KEYS) do
    local held = tonumber(redis.call('HGET', key, 'position') or '-1')
    if not known or held < tonumber(ARGV[3 * i]) then
        return 'lost'
    end
end
for i, key in ipairs(KEYS) do
    local held = tonumber(redis.call('HGET', key, 'position'))
    local reached = tonumber(ARGV[3 * i + 1])
    -- Two projectors may be at work; the one ahead has applied all below its position.
    redis.call('HSET', key, 'position', math.max(held, reached), 'updated', ARGV[1], 'stopped', ARGV[3 * i + 2])
end
return 'kept'
