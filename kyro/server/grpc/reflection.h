// grpc.reflection: which services there are and what their messages look like, so that grpcurl and
// its like need no file.
//
// Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "kyro/server/grpc/descriptors.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/grpc/protobuf.h"
#include "kyro/server/grpc/status.h"

namespace kyro::rpc {

namespace reflection_detail {

// Fields of google.protobuf.FileDescriptorProto and what it contains.
inline constexpr uint32_t kPackage = 2;
inline constexpr uint32_t kMessageType = 4;
inline constexpr uint32_t kEnumType = 5;
inline constexpr uint32_t kService = 6;
inline constexpr uint32_t kName = 1;
inline constexpr uint32_t kMember = 2;      // a service's methods, a message's fields
inline constexpr uint32_t kNestedType = 3;  // of a message
inline constexpr uint32_t kNestedEnum = 4;  // of a message

[[nodiscard]] inline std::string_view bytes_of(std::string_view message, uint32_t number) {
  std::string_view found;
  static_cast<void>(decode_fields(message, [&](const ProtoField& field) {
    if (field.is_bytes(number)) found = field.bytes;
    return true;
  }));
  return found;
}

// Takes `name` and, if more follows, the dot after it off the front of *symbol.
[[nodiscard]] inline bool take_name(std::string_view* symbol, std::string_view name) {
  if (name.empty() || !symbol->starts_with(name)) return false;
  if (symbol->size() == name.size()) {
    *symbol = {};
    return true;
  }
  if ((*symbol)[name.size()] != '.') return false;
  symbol->remove_prefix(name.size() + 1);
  return true;
}

// Whether the declaration in `field` of a file or message is, or contains, `symbol`.
[[nodiscard]] inline bool declares(const ProtoField& field, std::string_view symbol) {
  if (field.type != ProtoType::kBytes) return false;
  if (!take_name(&symbol, bytes_of(field.bytes, kName))) return false;
  if (symbol.empty()) return true;
  bool found = false;
  static_cast<void>(decode_fields(field.bytes, [&](const ProtoField& inner) {
    const bool may_contain =
        inner.number == kMember || inner.number == kNestedType || inner.number == kNestedEnum;
    found = found || (may_contain && declares(inner, symbol));
    return true;
  }));
  return found;
}

[[nodiscard]] inline bool file_declares(std::string_view file, std::string_view symbol) {
  if (!take_name(&symbol, bytes_of(file, kPackage)) || symbol.empty()) return false;
  bool found = false;
  static_cast<void>(decode_fields(file, [&](const ProtoField& field) {
    const bool is_declaration =
        field.number == kMessageType || field.number == kEnumType || field.number == kService;
    found = found || (is_declaration && declares(field, symbol));
    return true;
  }));
  return found;
}

inline void append_error(std::string& out, GrpcCode code, std::string_view message) {
  std::string error;
  append_varint_field(error, 1, static_cast<uint64_t>(code));
  append_bytes_field(error, 2, message);
  append_message_field(out, 7, error);
}

inline void append_services(std::string& out) {
  std::string list;
  for (const FileDescriptor& file : kDescriptors) {
    const std::string_view package = bytes_of(file.bytes, kPackage);
    static_cast<void>(decode_fields(file.bytes, [&](const ProtoField& field) {
      if (!field.is_bytes(kService)) return true;
      std::string name(package);
      name.append(".").append(bytes_of(field.bytes, kName));
      std::string service;
      append_bytes_field(service, 1, name);
      append_message_field(list, 1, service);
      return true;
    }));
  }
  append_message_field(out, 6, list);
}

}  // namespace reflection_detail

// Appends the ServerReflectionResponse to a ServerReflectionRequest, v1 and v1alpha alike; false if
// the request is not valid.
[[nodiscard]] inline bool append_reflection(std::string& out, std::string_view request) {
  using namespace reflection_detail;
  ProtoField asked;  // the last one of the oneof wins
  std::string_view host;
  const bool is_valid = decode_fields(request, [&](const ProtoField& field) {
    if (field.is_bytes(1)) host = field.bytes;
    if (field.type == ProtoType::kBytes && field.number >= 3 && field.number <= 7) asked = field;
    return true;
  });
  if (!is_valid) return false;
  append_bytes_field(out, 1, host);
  append_message_field(out, 2, request);
  const auto append_file = [&out](std::string_view file) {
    std::string files;
    append_message_field(files, 1, file);
    append_message_field(out, 4, files);
  };
  switch (asked.number) {
    case 3:
      for (const FileDescriptor& file : kDescriptors) {
        if (file.name == asked.bytes) {
          append_file(file.bytes);
          return true;
        }
      }
      append_error(out, GrpcCode::kNotFound, "no such file");
      return true;
    case 4:
      for (const FileDescriptor& file : kDescriptors) {
        if (file_declares(file.bytes, asked.bytes)) {
          append_file(file.bytes);
          return true;
        }
      }
      append_error(out, GrpcCode::kNotFound, "no such symbol");
      return true;
    case 7:
      append_services(out);
      return true;
    case 5:
    case 6:
      append_error(out, GrpcCode::kNotFound, "there are no extensions");
      return true;
    default:
      append_error(out, GrpcCode::kInvalidArgument, "the request asks for nothing");
      return true;
  }
}

}  // namespace kyro::rpc
