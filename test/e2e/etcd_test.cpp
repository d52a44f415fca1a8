// Real etcd: Debian's etcd-server, members on loopback that are killed. What it answers, and stores
// that share a log in it.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kyro/replica/etcd_store.h"
#include "kyro/replica/follower.h"
#include "test/support/cluster/etcd_cluster.h"
#include "test/support/cluster/replica_store.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// Calls call() until there is an answer: between two leaders there is none.
template <class Call>
auto until_answered(Call call) -> decltype(call()) {
  const uint64_t deadline_ns = monotonic_ns() + 30'000'000'000;
  for (;;) {
    auto answer = call();
    if (answer.status().code() != Code::kLogUnreachable || monotonic_ns() > deadline_ns) {
      INFO(answer.status().to_string());
      REQUIRE(answer.ok());
      return answer;
    }
  }
}

std::string head_at(uint64_t end) {
  return "head " + std::to_string(end);
}

// Appends a short entry of one record; without an answer a try may have got there.
void append_numbered(EtcdStore& store, uint64_t offset) {
  const std::string entry = "entry " + std::to_string(offset);
  const auto made = until_answered(
      [&] { return store.create(offset, entry, head_at(offset), head_at(offset + 1)); });
  const bool is_there = !*made || (*made)->entry == entry;
  REQUIRE(is_there);
}

// The offsets of all entries, read in pages.
std::vector<uint64_t> offsets_in(EtcdStore& store, uint32_t page_entries) {
  std::vector<uint64_t> offsets;
  uint64_t from = 0;
  for (;;) {
    const auto page = until_answered([&] { return store.read(from, page_entries); });
    CHECK(page->size() <= page_entries);
    if (page->empty()) return offsets;
    for (const EntryStore::Entry& entry : *page) offsets.push_back(entry.offset);
    from = offsets.back() + 1;
  }
}

// What an administrator tells etcd, and its answer.
std::string administer(const HttpEndpoint& endpoint, const std::string& path,
                       const std::string& body) {
  Client client(endpoint);
  const HttpResponse response = client.call("POST", path, body);
  INFO(path << ": " << response.status << " " << response.body);
  REQUIRE(response.status == 200);
  return response.body;
}

std::string message_of(const Status& status) {
  return std::string(status.message());
}

// Two threads that increment counters, and somebody who waits for how far they are.
class Incrementers {
 public:
  static constexpr uint64_t kCounters = 10;

  Incrementers(std::vector<Engine*> engines, uint64_t each) {
    for (Engine* engine : engines) {
      threads_.emplace_back([this, engine, each] {
        for (uint64_t i = 0; i < each && note(increment(*engine, i % kCounters)); ++i) {
        }
      });
    }
  }
  ~Incrementers() { join(); }
  void join() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  // Until so many are acknowledged, or one was not.
  void wait_for(uint64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return acknowledged_ >= count || !failure_.empty(); });
  }
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  bool note(const Status& status) {
    const std::lock_guard lock(mutex_);
    if (status.ok()) ++acknowledged_;
    if (!status.ok()) failure_ = status.to_string();
    changed_.notify_all();
    return status.ok();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t acknowledged_ = 0;
  std::string failure_;
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("Real etcd creates an entry once, where the head is as it was, and gives pages",
          "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(1);
  EtcdStore store(cluster.options("a"));
  const auto empty = until_answered([&] { return store.look(0); });
  CHECK_FALSE(empty->entry);
  CHECK_FALSE(empty->head);
  REQUIRE(store.create_head("begun").ok());
  REQUIRE(store.create_head("begun again").ok());
  CHECK(store.look(0)->head == "begun");

  const std::string binary("a\0\xff\n\"", 5);
  const auto made = store.create(0, binary, "begun", head_at(3));
  REQUIRE(made.ok());
  CHECK_FALSE(*made);
  const auto conflict = store.create(0, "late", head_at(3), head_at(9));
  REQUIRE(conflict.ok());
  REQUIRE(*conflict);
  CHECK((*conflict)->entry == binary);
  CHECK((*conflict)->head == head_at(3));
  const auto lagging = store.create(2, "into a hole", "begun", head_at(9));
  REQUIRE(lagging.ok());
  REQUIRE(*lagging);
  CHECK_FALSE((*lagging)->entry);
  CHECK((*lagging)->head == head_at(3));

  const std::string largest(kSharedRequestBytesMax + sizeof(EntryHeader), 'L');
  REQUIRE(store.create(3, largest, head_at(3), head_at(4)).ok());
  for (uint64_t offset = 4; offset < 40; ++offset) append_numbered(store, offset);
  CHECK(offsets_in(store, 7).size() == 38);
  CHECK(offsets_in(store, 1000) == offsets_in(store, 1));
  CHECK(store.look(3)->entry == largest);
  for (const size_t bytes : {size_t{1'600'000}, size_t{4'000'000}}) {
    CHECK(store.create(40, std::string(bytes, 'x'), head_at(40), head_at(41)).status().code() ==
          Code::kTooLarge);
  }
  const auto end = store.look(40);
  REQUIRE(end.ok());
  CHECK_FALSE(end->entry);
  CHECK(end->head == head_at(40));

  EtcdStore neighbour(cluster.options("b"));
  CHECK_FALSE(neighbour.look(0)->head);
  CHECK(neighbour.read(0, 10)->empty());
}

TEST_CASE("A member of real etcd is killed and comes back, and no entry is lost", "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(3);
  EtcdStore store(cluster.options("a"));
  CHECK(until_answered([&] { return store.create_head(head_at(0)); }).ok());
  for (uint64_t offset = 0; offset < 20; ++offset) append_numbered(store, offset);
  const size_t victim = cluster.member_of(store);
  cluster.kill_hard(victim);
  for (uint64_t offset = 20; offset < 40; ++offset) append_numbered(store, offset);
  CHECK(cluster.member_of(store) != victim);
  cluster.start_again(victim);
  EtcdOptions only_victim = cluster.options("a");
  only_victim.endpoints = {cluster.endpoint(victim)};
  EtcdStore back(only_victim);
  CHECK(offsets_in(back, 16).size() == 40);
  cluster.kill_hard((victim + 1) % 3);  // so that it is needed for the majority
  for (uint64_t offset = 40; offset < 50; ++offset) append_numbered(store, offset);
  const std::vector<uint64_t> offsets = offsets_in(back, 16);
  REQUIRE(offsets.size() == 50);
  CHECK(offsets.back() == 49);
}

TEST_CASE("Real etcd lets the right user in, and whoever is refused is told why", "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(1);
  const HttpEndpoint admin = cluster.endpoint(0);
  std::string range = etcd_detail::json_bytes("key", "kyro/a/");
  range += "," + etcd_detail::json_bytes("range_end", "kyro/a0");
  administer(admin, "/v3/auth/user/add", R"({"name":"root","password":"of root"})");
  administer(admin, "/v3/auth/user/grant", R"({"user":"root","role":"root"})");
  administer(admin, "/v3/auth/user/add", R"({"name":"kyro","password":"pass\"word"})");
  administer(admin, "/v3/auth/role/add", R"({"name":"kyro"})");
  administer(admin, "/v3/auth/role/grant",
             R"({"name":"kyro","perm":{"permType":"READWRITE",)" + range + "}}");
  administer(admin, "/v3/auth/user/grant", R"({"user":"kyro","role":"kyro"})");

  EtcdOptions options = cluster.options("a");
  options.user = "kyro";
  options.password = "pass\"word";
  EtcdStore early(options);
  CHECK_THAT(message_of(early.look(0).status()), Contains("authentication is not enabled"));
  administer(admin, "/v3/auth/enable", "{}");
  EtcdStore store(options);
  REQUIRE(until_answered([&] { return store.look(0); }).ok());
  REQUIRE(store.create_head(head_at(0)).ok());
  for (uint64_t offset = 0; offset < 5; ++offset) append_numbered(store, offset);

  options.name = "b";
  EtcdStore elsewhere(options);
  CHECK_THAT(message_of(elsewhere.look(0).status()),
             Contains("refuses the user \"kyro\": etcdserver: permission denied"));
  EtcdStore nobody(cluster.options("a"));
  CHECK_THAT(message_of(nobody.look(0).status()), Contains("refuses a request without a user"));
  options.name = "a";
  options.password = "guessed";
  EtcdStore guessing(options);
  StoreOnLog refused(guessing);
  refused.times.timeout_ms = 0;
  const Status status = refused.try_open().status();
  CHECK(status.code() == Code::kLogUnreachable);
  CHECK_THAT(message_of(status),
             Contains("refuses the user \"kyro\": etcdserver: authentication failed"));

  cluster.kill_hard(0);  // its tokens go with it
  cluster.start_again(0);
  for (uint64_t offset = 5; offset < 10; ++offset) append_numbered(store, offset);
  CHECK(offsets_in(store, 16).size() == 10);
}

TEST_CASE("Real etcd tells of a new head, of none when it is woken, and after a member's death too",
          "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(3);
  EtcdStore store(cluster.options("a"));
  EtcdStore other(cluster.options("a"));
  REQUIRE(until_answered([&] { return other.create_head(head_at(0)); }).ok());
  // As a follower does: a look whenever nothing is known.
  const auto wait_for = [&](uint64_t end) {
    const uint64_t deadline_ns = monotonic_ns() + 60'000'000'000;
    std::string head;
    while (head != head_at(end)) {
      REQUIRE(monotonic_ns() < deadline_ns);
      const auto told = store.wait(1000);
      head = told ? *told : until_answered([&] { return store.look(0); })->head.value_or("");
    }
  };
  wait_for(0);
  append_numbered(other, 0);
  wait_for(1);
  std::thread appending([&] {
    for (uint64_t offset = 1; offset < 30; ++offset) append_numbered(other, offset);
  });
  wait_for(30);
  appending.join();
  CHECK_FALSE(store.wait(1));
  append_numbered(other, 30);
  CHECK(store.wait(30'000) == head_at(31));  // told, and not by a look
  store.wake();
  CHECK_FALSE(store.wait(3'600'000));
  cluster.kill_hard(cluster.member_of(store));
  append_numbered(other, 31);
  wait_for(32);
  append_numbered(other, 32);
  wait_for(33);
}

TEST_CASE("Real etcd's beginning of a log is erased, and its head and its neighbours stay",
          "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(1);
  EtcdStore store(cluster.options("a"));
  EtcdStore neighbour(cluster.options("a2"));
  for (EtcdStore* one : {&store, &neighbour}) {
    REQUIRE(until_answered([&] { return one->create_head(head_at(0)); }).ok());
    for (uint64_t offset = 0; offset < 20; ++offset) append_numbered(*one, offset);
  }
  REQUIRE(store.erase(7).ok());
  REQUIRE(store.erase(7).ok());
  CHECK(store.read(0, 1)->front().offset == 7);
  CHECK(offsets_in(store, 100).size() == 13);
  CHECK(store.look(7)->head == head_at(20));
  CHECK(offsets_in(neighbour, 100).size() == 20);
  const auto usage = store.usage();
  REQUIRE(usage.ok());
  CHECK(usage->file_bytes >= usage->used_bytes);
  CHECK(usage->used_bytes > 0);
  CHECK_FALSE(usage->is_full);
}

TEST_CASE("Real etcd that is full says how to heal it, and heals so, with what was written before",
          "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster cluster(1, {"--quota-backend-bytes", "4000000"});
  EtcdStore store(cluster.options("a"));
  REQUIRE(until_answered([&] { return store.create_head(head_at(0)); }).ok());
  const std::string large(256 * kKiB, 'L');
  uint64_t end = 0;
  Status status;
  while (status.ok()) {
    status = store.create(end, large, head_at(end), head_at(end + 1)).status();
    if (status.ok()) ++end;
    REQUIRE(end < 100);
  }
  INFO(status.to_string());
  CHECK(status.code() == Code::kNoSpace);
  CHECK_THAT(message_of(status), Contains("etcdctl defrag") && Contains("etcdctl alarm disarm"));
  CHECK(store.usage()->is_full);
  CHECK(offsets_in(store, 4).size() == end);
  REQUIRE(store.erase(end - 1).ok());  // that is possible
  const HttpEndpoint admin = cluster.endpoint(0);
  administer(admin, "/v3/kv/compaction",
             "{\"revision\":\"" + std::to_string(end + 3) + "\",\"physical\":true}");
  administer(admin, "/v3/maintenance/defragment", "{}");
  const std::string alarms = administer(admin, "/v3/maintenance/alarm", R"({"action":"GET"})");
  const size_t id_at = alarms.find(R"("memberID":")") + 12;
  administer(admin, "/v3/maintenance/alarm",
             R"({"action":"DEACTIVATE","alarm":"NOSPACE","memberID":")" +
                 alarms.substr(id_at, alarms.find('"', id_at) - id_at) + "\"}");
  CHECK_FALSE(store.usage()->is_full);
  append_numbered(store, end);
  CHECK(offsets_in(store, 4) == std::vector<uint64_t>{end - 1, end});
}

TEST_CASE("Two stores count on real etcd while a member is killed, and lose nothing", "[e2e]") {
  if (!has_etcd()) return;
  constexpr uint64_t kEach = 150;
  EtcdCluster cluster(3);
  EtcdStore way_a(cluster.options("counters"));
  EtcdStore way_b(cluster.options("counters"));
  EtcdStore way_c(cluster.options("counters"));
  EtcdStore way_of_follower(cluster.options("counters"));
  StoreOnLog a(way_a);
  StoreOnLog b(way_b);
  StoreOnLog c(way_c);
  for (StoreOnLog* store : {&a, &b, &c}) {
    store->times = {.timeout_ms = 30'000, .pause_ms = 5};
    store->open();
  }
  LogFollower follower(*c, way_of_follower, c.health, {});
  REQUIRE(follower.start().ok());
  Incrementers threads({a.engine.get(), b.engine.get()}, kEach);
  threads.wait_for(kEach / 2);
  cluster.kill_hard(0);
  threads.wait_for(kEach);
  cluster.start_again(0);
  threads.join();
  follower.stop();
  CHECK(threads.failure() == "");
  CHECK(threads.acknowledged() == 2 * kEach);
  EtcdStore log(cluster.options("counters"));
  for (StoreOnLog* store : {&a, &b, &c}) check_same(*store, log);
  uint64_t sum = 0;
  for (const auto& [key, stored] : contents_of(*c)) sum += std::stoull(stored.value);
  CHECK(sum == 2 * kEach);
}

}  // namespace kyro::test
