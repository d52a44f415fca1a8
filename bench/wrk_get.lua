-- GET of keys from a file, KYRO_BENCH_DEPTH of them in one write: the requests are made beforehand,
-- so that the client is as fast as it can be. Ends with a line that bench/http_compare.sh reads.
local depth = tonumber(os.getenv("KYRO_BENCH_DEPTH") or "1")
local made, at = {}, 0

init = function()
  local batch = {}
  for key in io.lines(os.getenv("KYRO_BENCH_KEYS")) do
    batch[#batch + 1] = wrk.format("GET", "/v1/get_fast/" .. key)
    if #batch == depth then
      made[#made + 1] = table.concat(batch)
      batch = {}
    end
  end
end

request = function()
  at = at % #made + 1
  return made[at]
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("WRK requests=%d bad=%d rps=%.0f p50_us=%d p99_us=%d p999_us=%d\n",
    summary.requests, errors.status + errors.read, summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
