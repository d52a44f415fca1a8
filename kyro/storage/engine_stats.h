// What the engine counts. Rendered for people and scrapers by kyro/server/observe/metrics.h.
//
// Thread rule: any thread counts; counting writes no shared cache line (kyro/base/counters.h).
#pragma once

#include <array>
#include <cstdint>

#include "kyro/base/counters.h"

namespace kyro {

// Bounds in slots for the length of an index probe.
inline constexpr std::array<uint64_t, 8> kProbeBounds = {1, 2, 4, 8, 12, 16, 24, 48};

struct EngineStats {
  Counter appends;  // records of puts acknowledged
  Counter deletes;  // tombstones acknowledged
  HotCounter reads_from_delta;
  HotCounter reads_from_runs;
  HotCounter read_misses;
  HotHistogram probe_length{kProbeBounds};

  Histogram append_latency_ns{kLatencyBoundsNanos};  // of a group: gathered to acknowledged
  Histogram fsync_ns{kLatencyBoundsNanos};
  Counter write_slowdown_ns;  // that groups waited for flushes or merges, each group once
  Counter wal_written_bytes;
  Counter wal_filled_bytes;  // zeros, ahead of the log
  Counter wal_crc_errors;
  Counter recovery_truncated_bytes;

  Counter refused_no_space;   // write requests turned away: the disk is full
  Counter refused_read_only;  // and those after a failure that stopped writes
  Counter flush_failures;     // attempts that failed for space
  Counter merge_failures;

  Counter snapshots;
  Histogram snapshot_ns{kLatencyBoundsNanos};
  Counter compactions;
  Histogram compaction_ns{kLatencyBoundsNanos};
  Counter run_written_bytes;  // by flushes
  Counter compaction_written_bytes;
  Counter rmi_rebuilds;  // asked for, due, or in place of a damaged index
  Histogram rmi_rebuild_ns{kLatencyBoundsNanos};
  Counter corruptions;
  Counter scrubbed_bytes;

  void count_rebuild(uint64_t duration_ns) {
    rmi_rebuilds.add();
    rmi_rebuild_ns.observe(duration_ns);
  }
};

}  // namespace kyro
