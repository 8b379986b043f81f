-- Requests for wrk: create requests and polls in turn (mix), or one kind alone (create, poll). Each poll reads a random
-- task that this thread created. Prints one line: requests, microseconds, responses other than 200, errors.
local order = '{"model":"sora-2-beta-max","prompt":"A cat playing piano on a rainy street at night"}'
local first_polls = 100 -- ids that `poll` collects before it begins to poll

local threads = {}
function setup(thread) table.insert(threads, thread) end

local kind, turn, ids, create, poll_headers = "mix", 0, {}, nil, nil
refused = 0

function init(args)
   kind = args[1] or kind
   local key = "Bearer sk-bench"
   create = wrk.format("POST", "/v1/videos/generations",
      {["Authorization"] = key, ["Content-Type"] = "application/json", ["Host"] = wrk.headers["Host"]}, order)
   poll_headers = {["Authorization"] = key, ["Host"] = wrk.headers["Host"]}
end

function request()
   turn = turn + 1
   local polls = kind == "mix" and turn % 2 == 0 and #ids > 0 or kind == "poll" and #ids >= first_polls
   if not polls then return create end
   return wrk.format("GET", "/v1/tasks/" .. ids[math.random(#ids)], poll_headers)
end

function response(status, headers, body)
   if status ~= 200 then
      if refused == 0 then print(status, body) end
      refused = refused + 1
   elseif string.find(body, '"can_cancel":true,"estimated_time"', 1, true) then
      ids[#ids + 1] = string.match(body, '"id":"([^"]+)"')
   end
end

function done(summary)
   local others = 0
   for _, thread in ipairs(threads) do others = others + thread:get("refused") end
   local e = summary.errors
   print(string.format("RESULT %d %d %d %d", summary.requests, summary.duration, others,
      e.connect + e.read + e.write + e.timeout))
end
