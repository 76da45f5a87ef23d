-- Apply message events of one session, in order, each exactly once.
--
-- KEYS  1 row (hash)  2 history (sorted set: entry by the position of its first event)
-- ARGV  1 events as a JSON list, see projections/entries.py   2 entries to keep
-- Returns a word for each event: 'applied', 'seen' or 'gap'.
--
-- Entries are hashes beside the row, <row>:m:<entry>. They are not declared as
-- keys, because trimming finds their names here; the hash tag keeps them in the
-- row's slot, which is all that a cluster asks for.
--
-- Only values are written, never increments. Of a transaction that a power cut
-- halved, Redis 7 drops the half from memory and leaves it in its file, open; the
-- next start runs it together with what was written after it.

local row, history = KEYS[1], KEYS[2]
local events, bound = cjson.decode(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('HMGET', row, 'version', 'state', 'born', 'message_version', 'message_position', 'counted',
    'received', 'sent', 'failed')
local known, removed = held[1], held[2] == 'removed'
local born = tonumber(held[3] or '0')
local version = tonumber(held[4] or '0')
local position = tonumber(held[5] or '0')
local counted = tonumber(held[6] or '0')
local totals = { received = tonumber(held[7] or '0'), sent = tonumber(held[8] or '0'), failed = tonumber(held[9] or '0') }
local WORDS = { [0] = 'queued', 'sent', 'delivered', 'read', 'played' }

-- In one call: a script holds up everybody else's Redis, and each call has its price.
local function put(key, fields, ...)
    local flat = { ... }
    for field, value in pairs(fields) do
        flat[#flat + 1] = field
        flat[#flat + 1] = value
    end
    redis.call('HSET', key, unpack(flat))
end

local function merge(event)
    local key = row .. ':m:' .. event.entry
    local exists = redis.call('EXISTS', key) == 1
    if not exists and not event.creates then
        return -- a receipt for what is no longer kept
    end
    if not exists then
        put(key, event.first, 'position', event.position)
        redis.call('PEXPIREAT', key, event.expires)
    end
    if event.creates then
        -- Its place is that of its first event; added again if only the history was lost.
        redis.call('ZADD', history, 'NX', redis.call('HGET', key, 'position'), event.entry)
    end
    if next(event.set) then
        put(key, event.set)
    end
    if event.ack then
        -- Receipts may come in any order; a tick never goes back.
        local ack = math.max(event.ack, tonumber(redis.call('HGET', key, 'ack') or '0'))
        redis.call('HSET', key, 'ack', ack, 'status', WORDS[math.min(ack, 4)])
        redis.call('HDEL', key, 'reason')
    end
end

local answers, applied = {}, nil
for i, event in ipairs(events) do
    if not known then
        -- Every session begins with `registered`, so its models are missing.
        answers[i] = 'gap'
    elseif removed or event.position <= born or event.position <= position then
        -- Of an earlier life, whose messages are gone with it; or read again.
        answers[i] = 'seen'
    elseif event.version ~= version + 1 and not event.base then
        -- Version 1 begins a family. Where messages expired, the family begins
        -- later: `base` says that the log itself was asked and begins here.
        answers[i] = 'gap'
    else
        merge(event)
        if event.counts and event.version > counted then
            totals[event.counts] = totals[event.counts] + 1
        end
        version, position, applied = event.version, event.position, event
        answers[i] = 'applied'
    end
end

if applied then
    redis.call('HSET', row, 'message_version', version, 'message_position', position, 'last_message', applied.at,
        'received', totals.received, 'sent', totals.sent, 'failed', totals.failed)
    local over = redis.call('ZCARD', history) - bound
    if over > 0 then
        for _, entry in ipairs(redis.call('ZRANGE', history, 0, over - 1)) do
            redis.call('UNLINK', row .. ':m:' .. entry)
        end
        redis.call('ZREMRANGEBYRANK', history, 0, over - 1)
    end
    -- Entries expire by themselves; their places in the history are swept here.
    for _ = 1, 100 do
        local oldest = redis.call('ZRANGE', history, 0, 0)[1]
        if not oldest or redis.call('EXISTS', row .. ':m:' .. oldest) == 1 then
            break
        end
        redis.call('ZREM', history, oldest)
    end
    redis.call('PEXPIREAT', history, applied.expires)
end
return answers
