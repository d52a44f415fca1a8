// `kyrodb index DIR|FILE`: the learned indexes of a store that nobody serves, or one in a file, to
// be looked at: a table, JSON, a picture.
//
// Thread rule: one thread.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/client/output_file.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/index_files.h"
#include "kyro/tools/index_picture.h"
#include "kyro/tools/index_report.h"

namespace kyro {
namespace tools_detail {

inline Status write_picture(const std::string& path, const std::string& picture) {
  ctl::OutputFile file(path);
  if (file.write(picture) && file.finish()) return Status();
  return Status(Code::kIoError, path + ": " + strerrordesc_np(errno));
}

class IndexCommand {
 public:
  explicit IndexCommand(const CliCall& call)
      : call_(call), is_json_(call.has("json")), svg_(call.flag("svg")) {}

  int run() {
    cli_errors_are_json() = is_json_;
    if (is_json_ && svg_ == "-") {
      return cli_usage_error("kyrodb", call_.command, "--json and --svg - both print to stdout");
    }
    PosixFileSystem fs;
    const auto opened = open_index_files(fs, call_.words[0]);
    if (!opened.ok()) return give_up(opened.status());
    std::vector<RmiSurvey> surveys;
    for (const IndexFile& file : opened->files) {
      auto survey = look_at(file);
      if (!survey.ok()) return give_up(survey.status());
      surveys.push_back(std::move(*survey));
    }
    for (size_t i = 0; i < surveys.size(); ++i) tell_of(opened->files[i], surveys[i]);
    if (is_json_) std::printf("{\"indexes\":[%s]}\n", json_.c_str());
    if (is_table() && opened->files.empty()) {
      std::printf("no runs yet, so no index: every record is in the log\n");
    }
    if (svg_) {
      const Status status = write_picture(*svg_, picture());
      if (!status.ok()) return give_up(status);
    }
    return std::fflush(stdout) == 0 ? kExitOk : kExitError;
  }

 private:
  [[nodiscard]] bool is_table() const { return !is_json_ && svg_ != "-"; }

  static int give_up(const Status& status) {
    cli_print_error("kyrodb", code_name(status.code()), status.message());
    if (status.code() == Code::kBusy) {
      cli_print_error("kyrodb", "busy",
                      "an index file of a running server can be read by itself: "
                      "kyrodb index DIR/run-N.rmi");
    }
    return kExitError;
  }

  // Nothing is told before all of them are known to be sound.
  static Result<RmiSurvey> look_at(const IndexFile& file) {
    const Status verified = file.index().verify();
    RmiSurvey survey;
    if (verified.ok()) survey = RmiSurveyor::survey(file.index(), kPictureColumns);
    if (file.has_lost_pages()) {
      return Status(Code::kIoError, file.name + ": a part of it could not be read");
    }
    if (verified.ok()) return survey;
    return Status(verified.code(), file.name + ": " + std::string(verified.message()));
  }

  void tell_of(const IndexFile& file, const RmiSurvey& survey) {
    if (is_json_) {
      append_json(json_, file, survey);
    } else if (is_table()) {
      if (count_++ > 0) std::printf("\n");
      print_text(file, survey);
    }
    if (svg_ && (largest_ == nullptr || file.index().entries() > largest_->index().entries())) {
      largest_ = &file;
      largest_survey_ = survey;
    }
  }

  [[nodiscard]] std::string picture() const {
    const bool is_there = largest_ != nullptr;
    return IndexPicture::draw(is_there ? &largest_->index() : nullptr, largest_survey_,
                              printable(is_there ? largest_->name : call_.words[0]));
  }

  const CliCall& call_;
  const bool is_json_;
  const std::optional<std::string> svg_;
  size_t count_ = 0;
  std::string json_;
  const IndexFile* largest_ = nullptr;  // of those that were looked at
  RmiSurvey largest_survey_;
};

inline int show_index(const CliCall& call) {
  return IndexCommand(call).run();
}

inline constexpr CliFlag kIndexFlags[] = {
    {"svg", "FILE", "draw the largest index; - is stdout, in place of the table"},
    {"json", "", "print one JSON document; errors too"},
};

}  // namespace tools_detail
}  // namespace kyro
