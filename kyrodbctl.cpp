// The client's half of the program: nothing here is run a million times a second, so it is compiled
// for size.
#include "kyro/client/commands.h"
#include "kyro/client/program.h"

namespace kyro {

const CliProgram& client_program() {
  return ctl_program();
}

int run_client(std::span<const std::string_view> words) {
  return run_ctl(words);
}

}  // namespace kyro
