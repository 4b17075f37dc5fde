-- One call of one node: its clicks and how many users it has, in; the counter as it is then, out.
--
-- Redis runs a script as if nothing else happened meanwhile. So the order in which clicks change
-- the value is the order in which the changes are numbered and published. An error means that
-- nothing was counted.
--
-- KEYS   the counter: value, seq, epoch, history
--        the nodes: "USERS LEASE_ENDS LEASE" by their names
--        the epochs that have ended: the last number that was kept of each
-- ARGV   channel, node, its users, its lease in milliseconds (0: it leaves), clicks as "+-+…",
--        1 if the node has only now connected, the epoch and the number that it knows
-- Returns the update as JSON, the milliseconds until another node's lease ends, which clicks would
-- leave the range, counted from 0, and 1 if the node knows something that is lost.

local counter, nodes, epochs = KEYS[1], KEYS[2], KEYS[3]
local channel, node, count, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local clicks, is_new, known_epoch, known_seq = ARGV[5], ARGV[6] == '1', ARGV[7], tonumber(ARGV[8])

-- The clock is Redis' own: those of the nodes need not agree.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The newest changes may be lost when there is none of our data, or when its history is another
-- one: Redis names it anew at each restart and failover. They are lost when the node knows more
-- of this epoch than there is: somebody has put older data in its place. Then a new epoch begins,
-- and of each that has ended it is noted how much was kept.
local seq = tonumber(redis.call('HGET', counter, 'seq') or 0)
local epoch = redis.call('HGET', counter, 'epoch')
local history = is_new and redis.call('INFO', 'replication'):match('master_replid:(%x+)')
if not epoch or (history and redis.call('HGET', counter, 'history') ~= history)
  or (epoch == known_epoch and seq < known_seq) then
  local ended = redis.call('HGETALL', epochs)
  for i = 1, #ended, 2 do
    redis.call('HSET', epochs, ended[i], math.min(seq, tonumber(ended[i + 1])))
  end
  if epoch then
    redis.call('HSET', epochs, epoch, seq)
  end
  epoch = time[1] .. '.' .. time[2]
  redis.call('HSET', counter, 'epoch', epoch)
  if history then
    redis.call('HSET', counter, 'history', history)
  end
end
local is_lost = known_epoch ~= '' and known_epoch ~= epoch
  and tonumber(redis.call('HGET', epochs, known_epoch) or 0) < known_seq

-- Who has not renewed its lease is gone, and its users with it. So is a lease that has longer to
-- go than a lease can: the clock was set back.
local before = redis.call('HGET', nodes, node)
local changed = (before and before:match('%d+') or '0') ~= count
if lease > 0 then
  redis.call('HSET', nodes, node, string.format('%s %.0f %.0f', count, now + lease, lease))
else
  redis.call('HDEL', nodes, node)
end

-- A newly connected node uses every right that it will ever need, and publishes in any case: a
-- right that is missing is found now, and not at the first click. Not before the writes above: a
-- Redis without memory refuses what may need some only as a script's first write.
if is_new then
  for _, key in ipairs(KEYS) do
    redis.call('HGETALL', key)
    redis.call('HDEL', key, '')
  end
end

local all, users, next_end = redis.call('HGETALL', nodes), {}, nil
for i = 1, #all, 2 do
  local its_count, ends, its_lease = all[i + 1]:match('^(%d+) (%d+) (%d+)$')
  local left = ends and ends - now or 0
  if left <= 0 or left > tonumber(its_lease) then
    redis.call('HDEL', nodes, all[i])
    changed = changed or its_count ~= '0'
  else
    users[#users + 1] = string.format('"%s":%s', all[i], its_count)
    if all[i] ~= node and left < (next_end or math.huge) then
      next_end = left
    end
  end
end

-- Redis numbers are exact only up to 2^53 in Lua, so the value never becomes one here.
local sum, done, refused = 0, {}, {}
for i = 1, #clicks do
  local click = clicks:sub(i, i)
  local step = click == '+' and 1 or -1
  local result = redis.pcall('HINCRBY', counter, 'value', step)
  if type(result) == 'number' then
    done[#done + 1] = click
    sum = sum + step
  elseif result.err:find('overflow', 1, true) then
    refused[#refused + 1] = i - 1
  else
    return result
  end
end

local publish = changed or is_new or #done > 0
if publish then
  seq = redis.call('HINCRBY', counter, 'seq', 1)
end
local update = string.format(
  '{"epoch":"%s","seq":%.0f,"value":%s,"clicks":"%s","users":{%s}}',
  epoch, seq, redis.call('HGET', counter, 'value') or '0', table.concat(done),
  table.concat(users, ',')
)
if publish then
  local result = redis.pcall('PUBLISH', channel, update)
  if type(result) ~= 'number' then
    -- Nobody would hear of it: take it back.
    redis.call('HINCRBY', counter, 'value', 0 - sum) -- not -sum: it has a -0
    return result
  end
end
return { update, next_end or lease, refused, is_lost and 1 or 0 }
