-- One call of one node: its clicks and how many users it has, in; the counter as it is then, out.
--
-- Redis runs a script as if nothing else happened meanwhile. So the order in which clicks change
-- the value is the order in which the changes are numbered and published.
--
-- KEYS   the counter: value, seq, run, began · the nodes: "USERS LEASE_ENDS" by their names
-- ARGV   channel, node, its users, its lease in milliseconds (0: it leaves), clicks as "+-+…",
--        1 if the node has only now connected
-- Returns the news as JSON, the milliseconds until another node's lease ends, and which clicks
-- were refused, counted from 0.

local counter, nodes = KEYS[1], KEYS[2]
local channel, node, lease, clicks = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]

-- The clock is Redis' own: those of the nodes need not agree.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Redis numbers are exact only up to 2^53 in Lua, so the value never becomes one here.
local done, refused = {}, {}
for i = 1, #clicks do
  local click = clicks:sub(i, i)
  local result = redis.pcall('HINCRBY', counter, 'value', click == '+' and 1 or -1)
  if type(result) == 'number' then
    done[#done + 1] = click
  elseif result.err:find('overflow', 1, true) then
    refused[#refused + 1] = i - 1
  else
    return result
  end
end

-- Who has not renewed its lease is gone, and its users with it.
local before = redis.call('HGET', nodes, node)
local changed = (before and before:match('%d+') or '0') ~= ARGV[3]
if lease > 0 then
  redis.call('HSET', nodes, node, string.format('%s %.0f', ARGV[3], now + lease))
else
  redis.call('HDEL', nodes, node)
end
local all, users, of, next_end = redis.call('HGETALL', nodes), 0, {}, nil
for i = 1, #all, 2 do
  local count, ends = all[i + 1]:match('(%d+) (%d+)')
  ends = tonumber(ends)
  if ends <= now then
    redis.call('HDEL', nodes, all[i])
    changed = changed or count ~= '0'
  else
    users = users + count
    of[#of + 1] = string.format('"%s":%s', all[i], count)
    if all[i] ~= node and ends < (next_end or math.huge) then
      next_end = ends
    end
  end
end

local seq = tonumber(redis.call('HGET', counter, 'seq') or 0)

-- Another Redis process than before, which may have lost the newest changes: from here on it
-- counts anew, and every node can tell whether it knows more than Redis does.
local past = ''
if ARGV[6] == '1' then
  local run = redis.call('INFO', 'server'):match('run_id:(%x+)') or ''
  if redis.call('HGET', counter, 'run') ~= run then
    redis.call('HSET', counter, 'run', run, 'began', seq)
  end
  past = string.format(',"run":"%s","began":%s', run, redis.call('HGET', counter, 'began'))
end

local publish = changed or #done > 0
if publish then
  seq = redis.call('HINCRBY', counter, 'seq', 1)
end
local value = redis.call('HGET', counter, 'value') or '0'
local news = string.format(
  '{"seq":%.0f,"value":%s,"clicks":"%s","users":%d,"of":{%s}',
  seq, value, table.concat(done), users, table.concat(of, ',')
)
if publish then
  redis.call('PUBLISH', channel, news .. '}')
end
return { news .. past .. '}', (next_end or now + lease) - now, refused }
