-- Takes a place in several moving windows at once, or in none of them.
--
-- KEYS    one list of times for each window, newest first, as the library `limits` keeps them
-- ARGV    1 to take a place, 0 to look only; then amount and seconds of each window
-- answer  1 if there was room in all; then for each window how many places are taken, and
--         in how many seconds the oldest of them is free again

-- Redis' own clock: gateways on several machines share a window, but not their time.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local cost = tonumber(ARGV[1])

local function taken(key, amount, since)
    local inside, outside = 0, amount
    while inside < outside do
        local middle = math.floor((inside + outside) / 2)
        local at = redis.call('LINDEX', key, middle)
        if at and tonumber(at) > since then
            inside = middle + 1
        else
            outside = middle
        end
    end
    return inside
end

local room = 1
local windows = {}
for i, key in ipairs(KEYS) do
    local amount, seconds = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local count = taken(key, amount, now - seconds)
    if count + cost > amount then
        room = 0
    end
    windows[i] = { key = key, amount = amount, seconds = seconds, count = count }
end

local answer = { room }
for _, window in ipairs(windows) do
    if room == 1 and cost == 1 then
        redis.call('LPUSH', window.key, string.format('%.6f', now))
        redis.call('LTRIM', window.key, 0, window.amount - 1)
        redis.call('EXPIRE', window.key, window.seconds)
        window.count = window.count + 1
    end
    local free = 0
    if window.count > 0 then
        free = tonumber(redis.call('LINDEX', window.key, window.count - 1)) + window.seconds - now
    end
    answer[#answer + 1] = window.count
    answer[#answer + 1] = string.format('%.6f', free)
end
return answer
