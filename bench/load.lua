-- wrk's requests: each of the callers in turn.
--
--     wrk … -s load.lua URL -- METHOD PATH TOKENS KEYS FIRST COUNT [PAUSE]
--
-- TOKENS and KEYS are files of a token and a user key a line; the caller of
-- token i has key i modulo their number.  COUNT tokens from FIRST on are used,
-- then again from FIRST; the file's end is followed by its beginning.  With
-- PAUSE a connection waits before each request, so many milliseconds in the
-- mean, at random: they would all come at once.

local requests = {}
local turn = 0

local function lines(path)
    local all = {}

    for line in io.lines(path) do
        all[#all + 1] = line
    end

    return all
end


function init(args)
    local method, path = args[1], args[2]
    local tokens, keys = lines(args[3]), lines(args[4])
    local first, count = tonumber(args[5]), tonumber(args[6])
    local host = wrk.host .. ":" .. wrk.port
    local rest = "\r\n\r\n"

    if method == "POST" then
        local body = '{"query":"meetings with alice next week","size":25}'

        rest = "\r\nContent-Type: application/json\r\nContent-Length: "
               .. #body .. rest .. body
    end

    for i = 0, count - 1 do
        local n = (first + i) % #tokens

        requests[#requests + 1] = method .. " " .. path .. " HTTP/1.1"
            .. "\r\nHost: " .. host
            .. "\r\nAuthorization: Bearer " .. tokens[n + 1]
            .. "\r\nX-User-Key: " .. keys[n % #keys + 1] .. rest
    end

    local pause = tonumber(args[7] or 0)

    if pause > 0 then
        delay = function() return math.random(0, 2 * pause) end
    end
end


function request()
    turn = turn % #requests + 1

    return requests[turn]
end


-- requests, their time, those without an answer, those refused; then what half
-- of them and all but the hundredth part waited; microseconds
function done(summary, latency)
    local e = summary.errors

    io.write(string.format("measured %d %d %d %d %d %d\n", summary.requests,
                           summary.duration, e.connect + e.read + e.write
                                             + e.timeout, e.status,
                           latency:percentile(50), latency:percentile(99)))
end
