// Fuzz target: what a gRPC client sends, without the engine. However a body is split, the same
// messages come out of it; every decoder takes every message; the operations of a Write are the
// same whether they are read in steps or at once; and what reflection answers is a message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/grpc/reflection.h"
#include "kyro/server/grpc/status.h"
#include "kyro/server/routes/call_writes.h"

namespace {

using namespace kyro;

void require(bool condition) {
  if (!condition) std::abort();
}

// When something with a lifetime expires.
uint64_t at_once(const Lifetime&) {
  return 1;
}

// The messages of a body that comes in pieces, and how it ends.
std::string messages_of(std::string_view body, size_t piece) {
  rpc::MessageReader reader(1 << 16);
  std::string seen;
  for (size_t at = 0; at < body.size(); at += piece) {
    const Status status = reader.add(body.substr(at, piece), [&](std::string_view message) {
      seen.append(std::to_string(message.size())).append(":").append(message);
      return Status();
    });
    if (!status.ok()) return seen + status.to_string();
  }
  return seen + reader.end().to_string();
}

// What an OperationReader makes of a message, in steps of so many bytes.
std::string operations_of(std::string_view message, size_t step) {
  OperationReader reader(message, at_once, 1 << 20);
  std::string seen;
  while (!reader.at_end()) {
    Mutation mutation;
    Condition condition;
    bool is_conditional = false;
    const auto is_whole = reader.next(step, &mutation, &condition, &is_conditional);
    if (!is_whole.ok()) return seen + is_whole.status().to_string();
    if (!*is_whole) continue;
    require(mutation.value_crc == crc32c(mutation.value));
    seen.append(std::to_string(mutation.key)).append("=").append(mutation.value);
    seen.append(is_conditional ? "?" : ";");
  }
  return seen;
}

void decode(std::string_view message) {
  rpc::PutRequest put;
  if (put.decode(message)) static_cast<void>(mutation_of(put, at_once));
  static_cast<void>(rpc::GetRequest().decode(message));
  static_cast<void>(rpc::DeleteRequest().decode(message));
  static_cast<void>(rpc::ScanRequest().decode(message));
  static_cast<void>(rpc::WaitRequest().decode(message));
  static_cast<void>(rpc::RangeRequest().decode(message));
  static_cast<void>(rpc::NearestRequest().decode(message));
  static_cast<void>(rpc::SubscribeRequest().decode(message));
  static_cast<void>(rpc::HealthCheckRequest().decode(message));
  static_cast<void>(rpc::EmptyRequest().decode(message));
  rpc::MultiGetRequest keys;
  if (keys.decode(message, 100)) require(keys.keys.size() <= 101);
  require(operations_of(message, 1) == operations_of(message, 1 << 20));
  std::string answer;
  if (rpc::append_reflection(answer, message)) require(rpc::EmptyRequest().decode(answer));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());
  const std::string whole = messages_of(text, size + 1);
  require(whole == messages_of(text, 1));
  require(whole == messages_of(text, 6));
  decode(text);
  if (const auto only = rpc::only_message(text); only.ok()) decode(*only);
  static_cast<void>(rpc::parse_grpc_timeout_us(text));
  std::string encoded;
  rpc::append_grpc_message(encoded, text);
  for (const char c : encoded) require(c >= 0x20 && c <= 0x7E);
  return 0;
}
