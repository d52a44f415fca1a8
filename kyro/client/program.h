// The client as its program sees it: a table and one function. Both are defined in kyrodbctl.cpp,
// the translation unit that is compiled for size; what the commands do is in commands.h.
//
// Thread rule: one thread.
#pragma once

#include <span>
#include <string_view>

#include "kyro/cli/command_line.h"

namespace kyro {

// The commands of `kyrodbctl`, for help that is asked of `kyrodb`.
[[nodiscard]] const CliProgram& client_program();

// Runs the client with the words after the program's name; the exit code.
[[nodiscard]] int run_client(std::span<const std::string_view> words);

}  // namespace kyro
