-- What wrk sends, and what it tells at its end. load.py writes the files that the environment names.
--
-- The requests go round. One may hold a mark: {number} becomes eight digits that no other request of this run has,
-- {token} a refresh token that no connection uses at the moment; its answer brings the next one.

local function records(name)
   local path, found = os.getenv(name), {}
   if path then
      local file = assert(io.open(path, "rb"))
      for record in file:read("*a"):gmatch("[^\30]+") do
         found[#found + 1] = record
      end
      file:close()
   end
   return found
end

local requests, free = records("BENCH_REQUESTS"), records("BENCH_TOKENS")
local rotating, numbered = #free > 0, requests[1]:find("{number}", 1, true) ~= nil
local turn, number = 0, 0
statuses, sent = {}, -1 -- global, because `done` asks each thread for them; the first request is made and not sent

function request()
   sent = sent + 1
   turn = turn % #requests + 1
   local text = requests[turn]
   if numbered then
      number = number + 1
      return (text:gsub("{number}", ("%08d"):format(number)))
   elseif rotating then
      return (text:gsub("{token}", table.remove(free) or "none-is-free"))
   end
   return text
end

if rotating or os.getenv("BENCH_TELL") then -- reading answers costs wrk time
   function response(status, _, body)
      if status == 200 and rotating then
         free[#free + 1] = body:match('"refresh_token":"([^"]+)"')
      end
      if status > 399 then
         local kind = status .. " " .. (body:match('"code":"([^"]+)"') or "")
         statuses[kind] = (statuses[kind] or 0) + 1
      end
   end
end

local think = tonumber(os.getenv("BENCH_THINK_MS") or "0")
if think > 0 then
   math.randomseed(7)
   function delay()
      return math.random(0, 2 * think)
   end
end

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function done(summary, latency)
   local told, asked = {}, 0
   for _, thread in ipairs(threads) do
      asked = asked + thread:get("sent")
      for kind, count in pairs(thread:get("statuses")) do
         told[#told + 1] = ('"%s": %d'):format(kind, count)
      end
   end
   local errors = summary.errors
   io.write(("\nBENCH {\"sent\": %d, \"requests\": %d, \"seconds\": %f, \"mean\": %f, \"p50\": %f, \"p99\": %f, "):format(
      asked, summary.requests, summary.duration / 1e6, latency.mean / 1e3, latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3))
   io.write(("\"errors\": {\"connect\": %d, \"read\": %d, \"write\": %d, \"timeout\": %d, \"status\": %d}, "):format(
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
   io.write(("\"statuses\": {%s}}\n"):format(table.concat(told, ", ")))
end
