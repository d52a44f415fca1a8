// What is told of a replica: in /v1/offset and /v1/status as JSON, on the metrics page as series,
// which a server without a shared log does not have.
//
// Thread rule: any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/text/json_fields.h"
#include "kyro/replica/replica.h"
#include "kyro/server/observe/exposition.h"
#include "kyro/storage/engine.h"

namespace kyro {

// Where the log ends as far as is known: what is here was in it.
[[nodiscard]] inline uint64_t known_head(const Replica& replica, const Engine* engine) {
  return std::max(replica.head_offset(), engine != nullptr ? engine->next_offset() : 0);
}

[[nodiscard]] inline std::string_view writer_word(ReplicaLog::Writer writer) {
  switch (writer) {
    case ReplicaLog::Writer::kNobody:
      break;
    case ReplicaLog::Writer::kOwn:
      return "this";
    case ReplicaLog::Writer::kOther:
      return "another";
  }
  return "none";
}

// The field "shared_log".
inline void render_shared_log(JsonFields& json, const Replica& replica, const Engine* engine) {
  json.open("shared_log", '{');
  json.field("name", replica.name());
  json.field("state", replica.state_word());
  json.field("head", known_head(replica, engine));
  json.field("lag", replica.lag_records());
  json.field("lag_ms", replica.lag_ns() / 1'000'000);
  json.field("endpoint", replica.endpoint());
  json.field("last_writer", writer_word(replica.log().last_writer()));
  json.close('}');
}

inline void render_replica(MetricsText& text, const Replica& replica, const Engine* engine) {
  constexpr double kNanosPerSecond = 1e9;
  const bool is_up = replica.health().is_up() && !replica.health().is_stopped();
  text.gauge("kyrodb_log_up", "1 while the shared log answers and is followed.", is_up ? 1 : 0);
  text.family("kyrodb_log_stopped", "gauge",
              "1 for what has made this replica leave the shared log, by reason.");
  const std::string_view word = replica.health().reason_word();
  for (const std::string_view reason : LogHealth::kStopWords) {
    text.sample("kyrodb_log_stopped", std::string("reason=\"").append(reason) + "\"",
                reason == word ? 1 : 0);
  }
  text.gauge("kyrodb_log_head_offset", "Where the shared log ended when it was last looked at.",
             known_head(replica, engine));
  text.gauge("kyrodb_log_lag_records", "Records of the shared log that are not here yet.",
             replica.lag_records());
  text.family("kyrodb_log_lag_seconds", "gauge",
              "How long this replica has not had all of the shared log.");
  text.sample_seconds("kyrodb_log_lag_seconds", {},
                      static_cast<double>(replica.lag_ns()) / kNanosPerSecond);
  text.counter("kyrodb_log_conflicts_total",
               "Groups that were decided anew since another replica was faster.",
               replica.log().conflicts());
  const LogSpace& space = replica.log().space();
  text.gauge("kyrodb_log_bytes", "Bytes of the entries that the shared log holds, as far as known.",
             space.log_bytes());
  text.gauge("kyrodb_log_store_used_bytes", "Bytes in use in etcd, history and all.",
             space.used_bytes());
  text.gauge("kyrodb_log_store_file_bytes",
             "Bytes of etcd's file; where they reach its quota it takes no more.",
             space.file_bytes());
  text.gauge("kyrodb_log_store_quota_bytes", "etcd's quota, or what it is taken to be.",
             space.quota_bytes());
  text.gauge("kyrodb_log_store_full", "1 while etcd takes nothing since it was full.",
             space.is_full() ? 1 : 0);
  text.histogram("kyrodb_log_append_seconds", "An append to the shared log, with all its tries.",
                 replica.log().append_ns(), kNanosPerSecond);
}

}  // namespace kyro
