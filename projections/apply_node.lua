-- Keep what a node said last.
--
-- KEYS  1 nodes (hash: a JSON object for each)
-- ARGV  1 node   2 position of the event   3 its view as JSON
-- Returns 'applied', or 'seen' when something as late is held already.

local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and cjson.decode(held).position >= tonumber(ARGV[2]) then
    return 'seen'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 'applied'
