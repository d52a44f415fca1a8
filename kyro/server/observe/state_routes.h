// GET /ready and GET /v1/offset: in a few words what /v1/status says in many.
//
// Thread rule: on the exchange's reactor.
#pragma once

#include <cstdint>
#include <string>

#include "kyro/base/text/json_fields.h"
#include "kyro/net/http/handler.h"
#include "kyro/replica/replica.h"
#include "kyro/server/observe/replica_stats.h"
#include "kyro/server/readiness.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

// `engine` is null while its log is replayed, of which `replayed` records are there; `replica`
// where no log is shared. With ?writes=1 it is 503 too where writes would be.
inline void respond_ready(Exchange& x, Engine* engine, const Replica* replica, uint64_t replayed) {
  const auto why = why_not_ready(engine, replica, replayed);
  if (why) return x.respond(503, kJsonType, unready_body(*why));
  const auto wants_writes = find_switch(x.request().query, "writes");
  const bool is_enough = why_no_writes(replica).empty() || !wants_writes.ok() || !*wants_writes;
  x.respond(is_enough ? 200 : 503, kJsonType, ready_body(*engine, replica));
}

inline void respond_next_offset(Exchange& x, const Engine& engine, const Replica* replica) {
  std::string body;
  JsonFields json(body);
  json.open('{');
  json.field("offset", engine.next_offset());
  json.field("database", engine.database_id());
  if (replica != nullptr) render_shared_log(json, *replica, &engine);
  json.close('}');
  x.respond(200, kJsonType, body);
}

}  // namespace kyro
