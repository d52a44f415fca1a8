// What our gRPC is measured against: KV/Get and KV/Put of scripts/api/kyrodb.proto over a hash map,
// served by gRPC's own C++ library with its callback interface.
//
//   grpc_server PORT KEYS VALUE_BYTES     on 127.0.0.1, until SIGTERM
#include <grpcpp/grpcpp.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "bench/workload.h"
#include "kyrodb.grpc.pb.h"

namespace {

using kyrodb::v1::GetRequest;
using kyrodb::v1::GetResponse;
using kyrodb::v1::PutRequest;
using kyrodb::v1::PutResponse;

class Store final : public kyrodb::v1::KV::CallbackService {
 public:
  Store(uint64_t keys, size_t value_bytes) {
    values_.reserve(keys);
    for (uint64_t i = 0; i < keys; ++i) {
      const uint64_t key = kyro::bench::key_of(i);
      kyro::bench::append_value(values_[key], key, value_bytes);
    }
  }

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const GetRequest* request,
                                GetResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    const std::shared_lock lock(mutex_);
    const auto found = values_.find(request->key());
    if (found == values_.end()) {
      reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such key"));
    } else {
      response->set_value(found->second);
      reactor->Finish(grpc::Status::OK);
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* context, const PutRequest* request,
                                PutResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    {
      const std::unique_lock lock(mutex_);
      values_[request->key()] = request->value();
      response->set_offset(++offset_);
    }
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<uint64_t, std::string> values_;
  uint64_t offset_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: grpc_server PORT KEYS VALUE_BYTES\n");
    return 2;
  }
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  Store store(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(std::string("127.0.0.1:") + argv[1], grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&store);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  int signal = 0;
  sigwait(&stop, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  return 0;
}
