-- Begin to project: make the positions that are missing, and go back to the start if a
-- server of the cluster is not what it was.
--
-- KEYS  1 memories (hash)   then one hash for each projection
-- ARGV  ids of the memories of all servers now, see events/redis.py
-- Returns 'kept' or 'rewound', then the position of each projection.
--
-- The positions lie beside the data, so a server that lost its last writes lost
-- the positions that spoke of them as well. On a cluster that holds for the one server
-- that has the positions. Another one may lose rows below them; which, nobody can
-- tell, so all is read again, and what is there is seen.

local now = table.concat(ARGV, ' ')
local own = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local answer = { 'kept' }

for other in string.gmatch(redis.call('HGET', KEYS[1], 'others') or '', '%x+') do
    if not string.find(now, other, 1, true) then
        answer[1] = 'rewound'
    end
end

local others = {}
for _, memory in ipairs(ARGV) do
    if memory ~= own then
        others[#others + 1] = memory
    end
end
redis.call('HSET', KEYS[1], 'others', table.concat(others, ' '))

for i = 2, #KEYS do
    if answer[1] == 'rewound' then
        redis.call('HSET', KEYS[i], 'position', 0)
    end
    redis.call('HSETNX', KEYS[i], 'position', 0)
    answer[i] = redis.call('HGET', KEYS[i], 'position')
end
return answer
