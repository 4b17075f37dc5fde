-- One call of one node. The node sends its clicks and its number of users, and receives the counter
-- as it is after these clicks.
--
-- Redis runs nothing else while it runs a script. So the order in which clicks change the value is
-- the order in which the changes are numbered and published. If the script fails, nothing was
-- counted.
--
-- KEYS   the counter: value, seq, epoch, history
--        the nodes: "USERS LEASE_ENDS LEASE" by their names
--        the epochs that have ended: the last number of each that Redis did not lose
-- ARGV   channel, node, its users, its lease in milliseconds (0: it leaves), clicks as "+-+…",
--        1 if this is the node's first call on its connection, the epoch and the number that the
--        node knows
-- Returns the update as JSON, the milliseconds until the next lease of another node ends, the
-- indexes of the clicks that would leave the range (from 0), and 1 if Redis has lost changes that
-- the node knows.

local counter, nodes, epochs = KEYS[1], KEYS[2], KEYS[3]
local channel, node, count, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local clicks, is_new, known_epoch, known_seq = ARGV[5], ARGV[6] == '1', ARGV[7], tonumber(ARGV[8])

-- The time comes from Redis, because the clocks of the nodes need not agree.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Redis may have lost changes if it has none of our data, or if its history has a new id, because
-- Redis chooses a new id at each restart and failover. Redis has lost changes if the node knows a
-- higher number of this epoch, because then an older copy was restored. In each of these cases a
-- new epoch begins, and the script stores the last number that is left of each ended epoch.
local seq = tonumber(redis.call('HGET', counter, 'seq') or 0)
local epoch = redis.call('HGET', counter, 'epoch')
local history = is_new and redis.call('INFO', 'replication'):match('master_replid:(%x+)')
if not epoch or (history and redis.call('HGET', counter, 'history') ~= history)
  or (epoch == known_epoch and seq < known_seq) then
  local ended_epochs = redis.call('HGETALL', epochs)
  for i = 1, #ended_epochs, 2 do
    local last = math.min(seq, tonumber(ended_epochs[i + 1]))
    redis.call('HSET', epochs, ended_epochs[i], last)
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

-- A node that does not renew its lease is removed, and its users with it. A lease with more time
-- left than its full length is removed, too, because then the clock was set back.
local previous = redis.call('HGET', nodes, node)
local changed = (previous and previous:match('%d+') or '0') ~= count
if lease > 0 then
  redis.call('HSET', nodes, node, string.format('%s %.0f %.0f', count, now + lease, lease))
else
  redis.call('HDEL', nodes, node)
end

-- The first call uses every right that the node will ever need, and always publishes. So a missing
-- right is found now, and not at the first click. This comes after the writes above, because a
-- Redis that is out of memory refuses a write only if it is the first write of a script.
if is_new then
  for _, key in ipairs(KEYS) do
    redis.call('HGETALL', key)
    redis.call('HDEL', key, '')
  end
end

local entries, users, next_expiry = redis.call('HGETALL', nodes), {}, nil
for i = 1, #entries, 2 do
  local name, entry = entries[i], entries[i + 1]
  local its_count, ends, its_lease = entry:match('^(%d+) (%d+) (%d+)$')
  local remaining = ends and ends - now or 0
  if remaining <= 0 or remaining > tonumber(its_lease) then
    redis.call('HDEL', nodes, name)
    changed = changed or its_count ~= '0'
  else
    users[#users + 1] = string.format('"%s":%s', name, its_count)
    if name ~= node and remaining < (next_expiry or math.huge) then
      next_expiry = remaining
    end
  end
end

-- Numbers in Lua are exact only up to 2^53, so the script never converts the value to a number.
local sum, counted, refused = 0, {}, {}
for i = 1, #clicks do
  local click = clicks:sub(i, i)
  local step = click == '+' and 1 or -1
  local result = redis.pcall('HINCRBY', counter, 'value', step)
  if type(result) == 'number' then
    counted[#counted + 1] = click
    sum = sum + step
  elseif result.err:find('overflow', 1, true) then
    refused[#refused + 1] = i - 1
  else
    return result
  end
end

local publish = changed or is_new or #counted > 0
if publish then
  seq = redis.call('HINCRBY', counter, 'seq', 1)
end
local update = string.format(
  '{"epoch":"%s","seq":%.0f,"value":%s,"clicks":"%s","users":{%s}}',
  epoch, seq, redis.call('HGET', counter, 'value') or '0', table.concat(counted),
  table.concat(users, ',')
)
if publish then
  local result = redis.pcall('PUBLISH', channel, update)
  if type(result) ~= 'number' then
    -- No server would receive the change, so take it back. In Lua -sum can be -0, but 0 - sum is 0.
    redis.call('HINCRBY', counter, 'value', 0 - sum)
    return result
  end
end
return { update, next_expiry or lease, refused, is_lost and 1 or 0 }
