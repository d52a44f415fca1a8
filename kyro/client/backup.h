// `kyrodbctl backup` and `kyrodbctl backups`: a backup in the server's directory, or as a tar
// archive over the wire; those that lie in the server's directory.
//
// Thread rule: one thread.
#pragma once

#include <time.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "kyro/base/text/backup_name.h"
#include "kyro/client/output_file.h"
#include "kyro/client/progress.h"
#include "kyro/client/requests.h"
#include "kyro/client/status.h"
#include "kyro/client/streams.h"

namespace kyro {
namespace ctl {

inline constexpr const char* kNameRule =
    "NAME is made of letters, digits, '.', '_' and '-', and does not begin with '.'";

// Takes the body of the answer into `out`; the exit code.
inline int receive_backup(CtlClient& client, const HttpResponse& head, OutputFile& out,
                          const std::string& path) {
  const uint64_t total = parse_u64(head.header("kyro-backup-bytes")).value_or(0);
  Progress progress;
  uint64_t done = 0;
  std::string piece;
  for (bool is_at_end = false; !is_at_end; piece.clear()) {
    const Status status = client.http.receive_body(&piece, &is_at_end);
    if (!status.ok()) {
      progress.clear();
      return ctl_fail("the backup broke off: " + std::string(status.message()));
    }
    if (!out.write(piece)) return ctl_fail(path + ": " + strerrordesc_np(errno));
    done += piece.size();
    progress.show_bytes(done, total);
  }
  progress.clear();
  if (done != total) return ctl_fail("the backup has not the size that the server said");
  if (!out.finish()) return ctl_fail(path + ": " + strerrordesc_np(errno));
  const std::string next = printable(head.header("kyro-next-offset"));
  if (path == "-") return ctl_finish_output(kExitOk);
  if (client.as_json) {
    ctl_print("{\"backup\":\"ok\",\"bytes\":" + std::to_string(done) + ",\"next_offset\":" + next +
              "}\n");
  } else {
    std::fprintf(stderr, "backup: offsets below %s, %s in %.2f s\n", next.c_str(),
                 in_bytes(done).c_str(), progress.seconds());
  }
  return ctl_finish_output(kExitOk);
}

inline int run_backup(const CliCall& call) {
  const auto path = call.flag("output");
  if (path.has_value() != call.words.empty()) {
    return ctl_usage_error("either NAME, or -o FILE to have it here");
  }
  if (!path) {
    const std::string& name = call.words[0];
    if (!is_backup_name(name)) return ctl_usage_error(kNameRule);
    return send_maintenance(call, "/v1/backup?name=" + name);
  }
  return with_ctl_client(call, kMaintenanceTimeoutMs, [&](CtlClient& client) {
    OutputFile out(*path, 0600);
    if (!out.is_open()) return ctl_fail(*path + ": " + strerrordesc_np(errno));
    HttpResponse head;
    const int begun = begin_stream(client, "/v1/backup", "application/x-tar", {}, &head);
    if (begun != kExitOk) return begun;
    client.http.set_timeout_ms(kQuickTimeoutMs);
    return receive_backup(client, head, out, *path);
  });
}

inline std::string utc_time(uint64_t unix_secs) {
  const auto secs = static_cast<time_t>(unix_secs);
  struct tm parts {};
  char text[64];
  if (gmtime_r(&secs, &parts) == nullptr) return "-";
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02dZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

inline std::string backups_text(const FlatJson& answer) {
  TextTable table;
  table.add({"name", "made", "size", "next offset"});
  for (size_t i = 0; answer.has("backups." + std::to_string(i) + ".name"); ++i) {
    const std::string at = "backups." + std::to_string(i) + ".";
    const bool is_whole = answer.text(at + "whole") == "true";
    table.add(
        {answer.text(at + "name"), is_whole ? utc_time(answer.number(at + "made")) : "INCOMPLETE",
         in_bytes(answer.number(at + "bytes")), is_whole ? answer.text(at + "next_offset") : "-"});
  }
  return table.text();
}

inline int run_backups(const CliCall& call) {
  if (const auto name = call.flag("remove")) {
    if (!is_backup_name(*name)) return ctl_usage_error(kNameRule);
    return send_request(call, {.method = "DELETE",
                               .target = "/v1/backups?name=" + *name,
                               .timeout_ms = kMaintenanceTimeoutMs});
  }
  return with_ctl_client(call, kMaintenanceTimeoutMs, [&](CtlClient& client) {
    return print_document(client, "/v1/backups", backups_text);
  });
}

}  // namespace ctl
}  // namespace kyro
