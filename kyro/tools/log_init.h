// `kyrodb log init URL DIR`: begins a shared log in etcd with a store that has data.
//
// Nothing of the data is uploaded: the log begins where the store ends, under its database id. The
// store itself, and others that are made out of its backup, go on from there with `serve --log`.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/cli/token_file.h"
#include "kyro/replica/entry.h"
#include "kyro/replica/etcd_store.h"
#include "kyro/replica/log_url.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/offline/store_end.h"

namespace kyro {

// Makes the head of a log that a store at `dir` begins. Errors: kExists (there is a log, and what
// it is), kBusy (the store is in use), kUnsupported (it was not stopped in good order),
// kLogUnreachable (perhaps it was made), and those of a store that cannot be opened.
[[nodiscard]] inline Result<LogHead> begin_log(EntryStore& log, FileSystem& fs,
                                               const std::string& dir);

namespace tools_detail {

// What is there instead of nothing.
inline Status log_exists(std::string_view head, const std::string& database) {
  const auto there = decode_head(head);
  if (!there.ok()) return Status(Code::kExists, "there is a log already, and its head is damaged");
  return Status(Code::kExists, "there is a log already: it ends at offset " +
                                   std::to_string(there->end) + " and is of database " +
                                   there->database +
                                   (there->database == database ? ", which is this store's" : ""));
}

inline Status check_no_log(EntryStore& log, const std::string& database) {
  const auto found = log.look(0);
  KYRO_TRY(found);
  if (found->head) return log_exists(*found->head, database);
  const auto entries = log.read(0, 1);
  KYRO_TRY(entries);
  if (entries->empty()) return Status();
  return Status(Code::kExists, "there are entries of a log without a head, from offset " +
                                   std::to_string(entries->front().offset) + " on");
}

inline const CliFlag kLogFlags[] = {
    {"log-user", "USER", "as whom etcd is asked"},
    {"log-password-file", "FILE", "read that user's password from FILE"}};

inline int begin_log(const CliCall& call) {
  const auto refuse = [&](std::string_view why) {
    return cli_usage_error("kyrodb", call.command, why);
  };
  if (call.words[0] != "init") return refuse("the only thing to do with a log is init");
  const auto url = LogUrl::parse(call.words[1]);
  if (!url.ok()) return refuse("URL " + std::string(url.status().message()));
  EtcdOptions options{.endpoints = url->members, .name = url->name};
  options.user = call.flag("log-user").value_or("");
  const auto password_file = call.flag("log-password-file");
  if (options.user.empty() == password_file.has_value()) {
    return refuse("--log-user and --log-password-file must be given together");
  }
  if (password_file) {
    auto password = read_secret_file(*password_file);
    if (!password.ok()) {
      return refuse("--log-password-file: " + std::string(password.status().message()));
    }
    options.password = *std::move(password);
  }
  EtcdStore log(options);
  PosixFileSystem fs;
  const auto head = begin_log(log, fs, call.words[2]);
  if (!head.ok()) {
    cli_print_error("kyrodb", code_name(head.status().code()), head.status().message());
    return kExitError;
  }
  std::printf("log %s: database %s, from offset %llu on\n", url->name.c_str(),
              head->database.c_str(), static_cast<unsigned long long>(head->end));
  return kExitOk;
}

}  // namespace tools_detail

inline Result<LogHead> begin_log(EntryStore& log, FileSystem& fs, const std::string& dir) {
  const auto store = open_offline(fs, dir);
  KYRO_TRY(store);
  const auto manifest = decode_manifest(store->manifest_text);
  KYRO_TRY(manifest);
  const auto end = find_store_end(*store->dir, *manifest);
  KYRO_TRY(end);
  if (!end->is_certain) {
    return Status(Code::kUnsupported,
                  dir +
                      ": it was not stopped in good order, or is a backup: start it once and stop "
                      "it, or restore it");
  }
  const LogHead head{end->next_offset, 0, 0, manifest->database_id};
  KYRO_TRY(tools_detail::check_no_log(log, head.database));
  const Status made = log.create_head(encode_head(head));
  const auto found = log.look(0);  // an answer may have been lost, or somebody else been faster
  KYRO_TRY(found);
  if (found->head == encode_head(head)) return head;
  if (found->head) return tools_detail::log_exists(*found->head, head.database);
  return made.ok() ? Status(Code::kLogUnreachable, "the log is not there") : made;
}

}  // namespace kyro
