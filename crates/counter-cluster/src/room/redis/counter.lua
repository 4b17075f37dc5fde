-- One call of one node: its clicks and how many users it has, in; the counter as it is then, out.
--
-- Redis runs a script as if nothing else happened meanwhile. So the order in which clicks change
-- the value is the order in which the changes are numbered and published.
--
-- KEYS   the counter: value, seq, epoch, run · the nodes: "USERS LEASE_ENDS" by their names
--        · the epochs that have ended: the last number that was kept of each
-- ARGV   channel, node, its users, its lease in milliseconds (0: it leaves), clicks as "+-+…",
--        1 if the node has only now connected, the epoch and the number that it knows
-- Returns the news as JSON, the milliseconds until another node's lease ends, which clicks were
-- refused, counted from 0, and 1 if the node knows something that is lost.

local counter, nodes, epochs = KEYS[1], KEYS[2], KEYS[3]
local channel, node, lease, clicks = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]

-- The clock is Redis' own: those of the nodes need not agree.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Another Redis process than before, or none of our data: the newest changes may be lost. A new epoch
-- begins, and of each that has ended it is noted how much was kept.
local seq = tonumber(redis.call('HGET', counter, 'seq') or 0)
local epoch, run = redis.call('HGET', counter, 'epoch'), nil
if ARGV[6] == '1' then
  run = redis.call('INFO', 'server'):match('run_id:(%x+)')
end
if not epoch or run and redis.call('HGET', counter, 'run') ~= run then
  local ended = redis.call('HGETALL', epochs)
  for i = 1, #ended, 2 do
    redis.call('HSET', epochs, ended[i], math.min(seq, tonumber(ended[i + 1])))
  end
  if epoch then
    redis.call('HSET', epochs, epoch, seq)
  end
  epoch = time[1] .. '.' .. time[2]
  redis.call('HSET', counter, 'epoch', epoch, 'run', run or '')
end
local lost = 0
if ARGV[7] ~= '' and ARGV[7] ~= epoch then
  local kept = tonumber(redis.call('HGET', epochs, ARGV[7]) or 0)
  lost = kept < tonumber(ARGV[8]) and 1 or 0
end

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

local publish = changed or #done > 0
if publish then
  seq = redis.call('HINCRBY', counter, 'seq', 1)
end
local value = redis.call('HGET', counter, 'value') or '0'
local news = string.format(
  '{"epoch":"%s","seq":%.0f,"value":%s,"clicks":"%s","users":%d,"of":{%s}}',
  epoch, seq, value, table.concat(done), users, table.concat(of, ',')
)
if publish then
  redis.call('PUBLISH', channel, news)
end
return { news, (next_end or now + lease) - now, refused, lost }
