// A configuration file: the flags of a command, one a line, as its table has them.
//
//   # comment
//   data-dir = /var/lib/kyrodb
//   listen = 127.0.0.1:3030        # a flag that may be repeated may stand more than once
//
// Names are those of the flags, without dashes; a value is the rest of its line without the blanks
// around it, up to a " #". A variable beats the file, a flag beats both. Every refusal names the
// file and the line.
//
// Thread rule: values. Ownership: a file owns its lines.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/suggest.h"
#include "kyro/cli/command_line.h"

namespace kyro {

struct ConfigFile {
  struct Line {
    const CliFlag* flag = nullptr;
    std::string text;
    size_t number = 0;  // from 1
  };
  std::string path;
  std::vector<Line> lines;

  [[nodiscard]] const Line* find(const CliFlag& flag) const {
    for (const Line& line : lines) {
      if (line.flag == &flag) return &line;
    }
    return nullptr;
  }
  // "FILE line 3", for messages.
  [[nodiscard]] std::string place(size_t number) const {
    return path + " line " + std::to_string(number);
  }
};

namespace cli_detail {

inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// A line without its comment, which begins the line or follows a blank.
inline std::string_view without_comment(std::string_view line) {
  for (size_t at = 0; (at = line.find('#', at)) != line.npos; ++at) {
    if (at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') return line.substr(0, at);
  }
  return line;
}

// Why a line is refused; empty if it was added to the file.
inline std::string add_config_line(const CliCommand& command, std::string_view line, size_t number,
                                   ConfigFile* file) {
  const size_t equals = line.find('=');
  const std::string name(trimmed(line.substr(0, equals)));
  const CliFlag* const flag = find_flag(command.flags, "--" + name);
  if (flag == nullptr || flag->is_of_call) {
    Suggestion meant(name);
    for (const CliFlag& known : command.flags) meant.offer(known.name);
    if (flag != nullptr) return cli_quoted(name) + " cannot stand in a file";
    return "unknown flag " + cli_quoted(name) +
           (meant.found() ? "; the nearest is " + std::string(meant.name()) : std::string());
  }
  if (equals == line.npos) return "a line is \"flag = value\"";
  const std::string_view text = trimmed(line.substr(equals + 1));
  if (std::string refusal = refuse_value(*flag, text); !refusal.empty()) {
    return name + " " + refusal;
  }
  for (ConfigFile::Line& before : file->lines) {
    if (before.flag != flag) continue;
    if (!flag->is_repeated) {
      return name + " stands in line " + std::to_string(before.number) + " too";
    }
    before.text.append(",").append(text);
    return {};
  }
  file->lines.push_back({flag, std::string(text), number});
  return {};
}

}  // namespace cli_detail

// What a text says; kInvalid with a sentence that names the line.
[[nodiscard]] inline Result<ConfigFile> parse_config_file(const CliCommand& command,
                                                          std::string path, std::string_view text) {
  using namespace cli_detail;
  ConfigFile file{std::move(path), {}};
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = trimmed(without_comment(text.substr(0, end)));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.empty()) continue;
    const std::string refusal = add_config_line(command, line, number, &file);
    if (!refusal.empty()) return refuse({file.place(number), ": ", refusal});
  }
  return file;
}

[[nodiscard]] inline Result<ConfigFile> read_config_file(const CliCommand& command,
                                                         const std::string& path) {
  constexpr size_t kFileBytesMax = 1 << 20;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string text(kFileBytesMax + 1, '\0');
  size_t size = 0;
  ssize_t got = fd < 0 ? -1 : 1;
  while (got > 0 && size < text.size()) {
    got = read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got > 0)
      size += static_cast<size_t>(got);
  }
  const int error = errno;
  if (fd >= 0) close(fd);
  if (got < 0) return cli_detail::refuse({"--config: ", path, ": ", strerrordesc_np(error)});
  if (size > kFileBytesMax) return cli_detail::refuse({"--config: ", path, " is too large"});
  text.resize(size);
  return parse_config_file(command, path, text);
}

// Sets the fields of the flags that the file has.
[[nodiscard]] inline Status read_options(const ConfigFile& file, void* options) {
  for (const ConfigFile::Line& line : file.lines) {
    const std::string refusal = line.flag->field.set(*line.flag, line.text, options);
    if (!refusal.empty()) {
      return cli_detail::refuse({file.place(line.number), ": ", line.flag->name, " ", refusal});
    }
  }
  return {};
}

}  // namespace kyro
