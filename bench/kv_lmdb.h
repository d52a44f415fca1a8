// LMDB in the engine benchmark, as its documentation would have it for this: native integer keys,
// one write transaction per put, and read transactions that are reset and renewed, not begun anew.
// MDB_NOSYNC only where nobody asks for a sync at each put. It has no write buffer and no log.
#pragma once

#if defined(KYRO_BENCH_LMDB)

#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "bench/kv.h"

namespace kyro::bench {

class LmdbKv final : public Kv {
 public:
  [[nodiscard]] const char* name() const override { return "lmdb"; }

  void open(const std::string& dir, Durability durability, uint64_t) override {
    mkdir(dir.c_str(), 0755);
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, size_t{256} << 30));
    check(mdb_env_set_maxreaders(env_, 512));
    const unsigned sync = durability == Durability::kAlways ? 0 : MDB_NOSYNC;
    check(mdb_env_open(env_, dir.c_str(), MDB_NOTLS | MDB_NORDAHEAD | sync, 0644));
    MDB_txn* txn = begin();
    check(mdb_dbi_open(txn, nullptr, MDB_CREATE | MDB_INTEGERKEY, &dbi_));
    check(mdb_txn_commit(txn));
  }
  void close() override {
    reader().end();
    mdb_env_close(env_);
  }

  void put(uint64_t key, std::string_view value) override {
    MDB_txn* txn = begin();
    put_in(txn, key, value, 0);
    check(mdb_txn_commit(txn));
  }
  void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) override {
    MDB_txn* txn = begin();
    for (size_t i = 0; i < keys.size(); ++i) put_in(txn, keys[i], values[i], 0);
    check(mdb_txn_commit(txn));
  }

  // Appends, which needs no search and leaves full pages, in transactions of a million keys.
  bool bulk_load(const std::string& dir, std::span<const uint64_t> keys,
                 size_t value_bytes) override {
    constexpr size_t kCommitKeys = 1'000'000;
    open(dir, Durability::kNever, 0);
    std::string value(value_bytes, '\0');
    for (size_t at = 0; at < keys.size(); at += kCommitKeys) {
      MDB_txn* txn = begin();
      for (const uint64_t key : keys.subspan(at, std::min(kCommitKeys, keys.size() - at))) {
        fill_value(key, &value);
        put_in(txn, key, value, MDB_APPEND);
      }
      check(mdb_txn_commit(txn));
    }
    sync();
    close();
    return true;
  }

  bool get(uint64_t key, std::string* value) override {
    MDB_txn* txn = renew();
    const bool found = get_in(txn, key, value);
    mdb_txn_reset(txn);
    return found;
  }
  size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) override {
    MDB_txn* txn = renew();
    size_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) found += get_in(txn, keys[i], &values[i]) ? 1u : 0u;
    mdb_txn_reset(txn);
    return found;
  }

  size_t scan(uint64_t first, size_t limit, std::string* to) override {
    MDB_txn* txn = renew();
    MDB_cursor*& cursor = reader().cursor;
    check(cursor == nullptr ? mdb_cursor_open(txn, dbi_, &cursor) : mdb_cursor_renew(txn, cursor));
    MDB_val key{sizeof first, &first};
    MDB_val value{};
    size_t found = 0;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
      to->append(static_cast<const char*>(value.mv_data), value.mv_size);
      if (++found == limit) break;
    }
    if (code != MDB_NOTFOUND) check(code);
    mdb_txn_reset(txn);
    return found;
  }

  bool sync() override {
    check(mdb_env_sync(env_, 1));
    return true;
  }
  [[nodiscard]] bool has_log() const override { return false; }

 private:
  // A thread's read transaction, and a cursor in it.
  struct Reader {
    MDB_txn* txn = nullptr;
    MDB_cursor* cursor = nullptr;
    void end() {
      if (cursor != nullptr) mdb_cursor_close(cursor);
      if (txn != nullptr) mdb_txn_abort(txn);
      cursor = nullptr;
      txn = nullptr;
    }
    ~Reader() { end(); }
  };
  static Reader& reader() {
    thread_local Reader own;
    return own;
  }

  static void check(int code) {
    if (code != MDB_SUCCESS) give_up("lmdb", mdb_strerror(code));
  }
  MDB_txn* begin() {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn));
    return txn;
  }
  MDB_txn* renew() {
    Reader& own = reader();
    if (own.txn == nullptr) {
      check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &own.txn));
    } else {
      check(mdb_txn_renew(own.txn));
    }
    return own.txn;
  }
  void put_in(MDB_txn* txn, uint64_t key, std::string_view bytes, unsigned flags) {
    MDB_val name{sizeof key, &key};
    MDB_val value{bytes.size(), const_cast<char*>(bytes.data())};
    check(mdb_put(txn, dbi_, &name, &value, flags));
  }
  bool get_in(MDB_txn* txn, uint64_t key, std::string* to) {
    MDB_val name{sizeof key, &key};
    MDB_val value{};
    const int code = mdb_get(txn, dbi_, &name, &value);
    if (code == MDB_NOTFOUND) return false;
    check(code);
    to->assign(static_cast<const char*>(value.mv_data), value.mv_size);
    return true;
  }

  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
};

}  // namespace kyro::bench

#endif  // KYRO_BENCH_LMDB
