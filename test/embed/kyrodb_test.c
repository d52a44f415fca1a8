// Every function of kyrodb.h, called from C11: scripts/check_c.sh builds this against the installed
// library, static and shared, and runs it by itself and under valgrind. Ends with 0 if all held.
#include <inttypes.h>
#include <kyrodb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failures = 0;

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      ++failures;                                                                      \
      fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__,      \
              #condition, kyrodb_error());                                             \
    }                                                                                  \
  } while (0)

static char copied[256];

static int get(kyrodb* db, uint64_t key, kyrodb_record* record) {
  return kyrodb_get(db, key, copied, sizeof copied, record);
}

static int value_is(const kyrodb_record* record, const char* text) {
  return record->value_bytes == strlen(text) &&
         memcmp(record->value, text, record->value_bytes) == 0;
}

static void test_library(void) {
  CHECK(kyrodb_version()[0] != '\0');
  CHECK(strcmp(kyrodb_code_name(KYRODB_OK), "ok") == 0);
  CHECK(strcmp(kyrodb_code_name(KYRODB_NOT_FOUND), "not_found") == 0);
  CHECK(strcmp(kyrodb_code_name(KYRODB_UNSUPPORTED), "unsupported") == 0);
  CHECK(strcmp(kyrodb_code_name(KYRODB_WRONG_SHARD + 1), "unknown") == 0);
  CHECK(strcmp(kyrodb_code_name(-1), "unknown") == 0);
  CHECK(strcmp(kyrodb_error(), "") == 0);
}

static kyrodb* open_small(const char* directory) {
  kyrodb_options* options = kyrodb_options_create();
  kyrodb* db = NULL;
  CHECK(kyrodb_options_set(options, "fsync", KYRODB_FSYNC_NEVER) == KYRODB_OK);
  CHECK(kyrodb_options_set(options, "reserve_bytes", 0) == KYRODB_OK);
  CHECK(kyrodb_options_set(options, "max_value_bytes", 1 << 20) == KYRODB_OK);
  CHECK(kyrodb_options_set(options, "fsync", 3) == KYRODB_INVALID);
  CHECK(kyrodb_options_set(options, "merge_fan_in", UINT64_MAX) == KYRODB_INVALID);
  CHECK(kyrodb_options_set(options, "colour", 1) == KYRODB_INVALID);
  CHECK(strstr(kyrodb_error(), "colour") != NULL);
  CHECK(kyrodb_options_set(options, "merge_fan_in", 1) == KYRODB_OK);
  CHECK(kyrodb_open(directory, options, &db) == KYRODB_INVALID);
  CHECK(kyrodb_options_set(options, "merge_fan_in", 4) == KYRODB_OK);
  CHECK(kyrodb_open(directory, options, &db) == KYRODB_OK);
  kyrodb_options_destroy(options);
  return db;
}

static void test_one_key(kyrodb* db) {
  char buffer[16];
  kyrodb_record record;
  uint64_t first = 0;
  uint64_t second = 0;
  CHECK(kyrodb_get(db, 7, buffer, sizeof buffer, &record) == KYRODB_NOT_FOUND);
  CHECK(kyrodb_put(db, 7, "seven", 5, 0, &first) == KYRODB_OK);
  CHECK(kyrodb_put_if_absent(db, 7, "other", 5, 0, NULL) == KYRODB_PRECONDITION_FAILED);
  CHECK(kyrodb_put_if_version(db, 7, first, "SEVEN", 5, 0, &second) == KYRODB_OK);
  CHECK(second > first);
  CHECK(kyrodb_put_if_version(db, 7, first, "late", 4, 0, NULL) == KYRODB_PRECONDITION_FAILED);
  CHECK(kyrodb_get(db, 7, buffer, sizeof buffer, &record) == KYRODB_OK);
  CHECK(value_is(&record, "SEVEN") && record.value == buffer);
  CHECK(record.key == 7 && record.offset == second && record.expiry_secs == 0);
  CHECK(kyrodb_get(db, 7, buffer, 5, &record) == KYRODB_OK);
  CHECK(kyrodb_get(db, 7, buffer, 4, &record) == KYRODB_TOO_LARGE);
  CHECK(record.value == NULL && record.value_bytes == 5 && record.offset == second);
  CHECK(kyrodb_get(db, 7, NULL, 0, &record) == KYRODB_TOO_LARGE && record.value_bytes == 5);
  CHECK(kyrodb_remove_if_version(db, 7, first, NULL) == KYRODB_PRECONDITION_FAILED);
  CHECK(kyrodb_remove_if_version(db, 7, second, NULL) == KYRODB_OK);
  CHECK(kyrodb_remove(db, 7, NULL) == KYRODB_NOT_FOUND);
  CHECK(get(db, 7, &record) == KYRODB_NOT_FOUND);

  CHECK(kyrodb_put(db, 8, NULL, 0, 0, NULL) == KYRODB_OK);  // an empty value is a value
  CHECK(get(db, 8, &record) == KYRODB_OK);
  CHECK(record.value == copied && record.value_bytes == 0);
  CHECK(kyrodb_remove(db, 8, &first) == KYRODB_OK);

  char* large = calloc(1, (1 << 20) + 1);
  CHECK(kyrodb_put(db, 9, large, (1 << 20) + 1, 0, NULL) == KYRODB_TOO_LARGE);
  free(large);
}

static void test_lifetimes(kyrodb* db) {
  char buffer[8];
  kyrodb_record record;
  const uint64_t now = (uint64_t)time(NULL);
  CHECK(kyrodb_put(db, 20, "later", 5, now + 3600, NULL) == KYRODB_OK);
  CHECK(kyrodb_put(db, 21, "past", 4, now - 10, NULL) == KYRODB_OK);
  CHECK(kyrodb_get(db, 20, buffer, sizeof buffer, &record) == KYRODB_OK);
  CHECK(record.expiry_secs >= now + 3599 && record.expiry_secs <= now + 3601);
  CHECK(kyrodb_get(db, 21, buffer, sizeof buffer, &record) == KYRODB_NOT_FOUND);
  CHECK(kyrodb_remove(db, 20, NULL) == KYRODB_OK);
}

static void test_batches(kyrodb* db) {
  kyrodb_batch* batch = kyrodb_batch_create();
  kyrodb_record record;
  uint64_t last = 0;
  CHECK(kyrodb_write(db, batch, NULL) == KYRODB_INVALID);
  for (uint64_t key = 100; key < 110; ++key) kyrodb_batch_put(batch, key, "ten", 3, 0);
  kyrodb_batch_require_absent(batch, 100);
  CHECK(kyrodb_write(db, batch, &last) == KYRODB_OK);
  CHECK(kyrodb_write(db, batch, NULL) == KYRODB_PRECONDITION_FAILED);
  kyrodb_batch_clear(batch);
  kyrodb_batch_require_version(batch, 109, last);
  kyrodb_batch_require_exists(batch, 100);
  kyrodb_batch_remove(batch, 109);
  kyrodb_batch_remove(batch, 999);
  kyrodb_batch_put(batch, 100, "changed", 7, 0);
  CHECK(kyrodb_write(db, batch, NULL) == KYRODB_OK);
  kyrodb_batch_clear(batch);
  kyrodb_batch_require_exists(batch, 109);
  kyrodb_batch_put(batch, 100, "never", 5, 0);
  CHECK(kyrodb_write(db, batch, NULL) == KYRODB_PRECONDITION_FAILED);
  CHECK(get(db, 100, &record) == KYRODB_OK && value_is(&record, "changed"));
  kyrodb_batch_destroy(batch);
}

static void test_many(kyrodb* db) {
  const uint64_t keys[] = {100, 5, 101, 109};
  kyrodb_record records[4];
  kyrodb_record record;
  kyrodb_iterator* iterator = NULL;
  kyrodb_reader* reader = kyrodb_reader_open(db);
  CHECK(kyrodb_put(db, 101, "later", 5, 0, NULL) == KYRODB_OK);
  CHECK(kyrodb_reader_get_many(reader, keys, 4, records) == KYRODB_OK);
  CHECK(value_is(&records[0], "changed") && records[1].value == NULL);
  CHECK(value_is(&records[2], "ten") && records[3].value == NULL);
  CHECK(kyrodb_reader_get(reader, 101, &record) == KYRODB_OK && value_is(&record, "ten"));
  CHECK(kyrodb_reader_get(reader, 109, &record) == KYRODB_NOT_FOUND);
  iterator = kyrodb_reader_iterate(reader, 101, 101, 0);
  kyrodb_reader_close(reader);
  CHECK(kyrodb_iterator_next(iterator, &record) == KYRODB_OK && value_is(&record, "ten"));
  CHECK(kyrodb_iterator_next(iterator, &record) == KYRODB_NOT_FOUND);
  kyrodb_iterator_close(iterator);
  kyrodb_reader_close(NULL);
  CHECK(kyrodb_put(db, 101, "ten", 3, 0, NULL) == KYRODB_OK);

  CHECK(kyrodb_floor(db, 5000, copied, sizeof copied, &record) == KYRODB_OK && record.key == 108);
  CHECK(kyrodb_ceil(db, 50, copied, sizeof copied, &record) == KYRODB_OK && record.key == 100);
  CHECK(value_is(&record, "changed"));
  CHECK(kyrodb_ceil(db, 50, copied, 3, &record) == KYRODB_TOO_LARGE && record.value_bytes == 7);
  CHECK(kyrodb_floor(db, 99, copied, sizeof copied, &record) == KYRODB_NOT_FOUND);
  CHECK(kyrodb_ceil(db, 109, copied, sizeof copied, &record) == KYRODB_NOT_FOUND);
}

// Writes 2,000 keys from 10,000 on, of which a value names its key, and iterates over them while
// they are removed: over more than one slice, up and down.
static void test_iterators(kyrodb* db) {
  enum { kKeys = 2000, kValueBytes = 100 };
  char value[kValueBytes] = {0};
  kyrodb_batch* batch = kyrodb_batch_create();
  kyrodb_iterator* up = NULL;
  kyrodb_iterator* down = NULL;
  kyrodb_record record;
  uint64_t key = 10000;
  for (; key < 10000 + kKeys; ++key) {
    memcpy(value, &key, sizeof key);
    CHECK(kyrodb_put(db, key, value, sizeof value, 0, NULL) == KYRODB_OK);
    kyrodb_batch_remove(batch, key);
  }
  CHECK(kyrodb_snapshot(db) == KYRODB_OK);
  up = kyrodb_iterate(db, 10000, UINT64_MAX, 0);
  down = kyrodb_iterate(db, 10000, UINT64_MAX, 1);
  CHECK(kyrodb_write(db, batch, NULL) == KYRODB_OK);
  kyrodb_batch_destroy(batch);
  for (uint64_t i = 0; i < kKeys; ++i) {
    CHECK(kyrodb_iterator_next(up, &record) == KYRODB_OK && record.key == 10000 + i);
    CHECK(record.value_bytes == kValueBytes && memcmp(record.value, &record.key, 8) == 0);
    CHECK(kyrodb_iterator_next(down, &record) == KYRODB_OK && record.key == 9999 + kKeys - i);
  }
  CHECK(kyrodb_iterator_next(up, &record) == KYRODB_NOT_FOUND);
  CHECK(kyrodb_iterator_next(up, &record) == KYRODB_NOT_FOUND);
  CHECK(kyrodb_iterator_next(down, &record) == KYRODB_NOT_FOUND);
  kyrodb_iterator_close(up);
  kyrodb_iterator_close(down);
  up = kyrodb_iterate(db, 10000, UINT64_MAX, 0);
  CHECK(kyrodb_iterator_next(up, &record) == KYRODB_NOT_FOUND);
  kyrodb_iterator_close(up);
  kyrodb_iterator_close(NULL);
}

static void test_statistics(kyrodb* db) {
  uint64_t value = 0;
  size_t names = 0;
  for (; kyrodb_statistic_name(names) != NULL; ++names) {
    CHECK(kyrodb_statistic(db, kyrodb_statistic_name(names), &value) == KYRODB_OK);
  }
  CHECK(names >= 10);
  CHECK(kyrodb_statistic(db, "snapshots", &value) == KYRODB_OK && value >= 1);
  CHECK(kyrodb_statistic(db, "appends", &value) == KYRODB_OK && value >= 2000);
  CHECK(kyrodb_statistic(db, "no such thing", &value) == KYRODB_INVALID);
  CHECK(strlen(kyrodb_id(db)) == 32);
}

static void test_backup(kyrodb* db, const char* to) {
  kyrodb* copy = NULL;
  kyrodb_record record;
  CHECK(kyrodb_compact(db) == KYRODB_OK);
  CHECK(kyrodb_backup(db, to) == KYRODB_OK);
  CHECK(kyrodb_backup(db, to) == KYRODB_EXISTS);
  CHECK(kyrodb_open(to, NULL, &copy) == KYRODB_OK);
  if (copy == NULL) return;
  CHECK(get(copy, 100, &record) == KYRODB_OK && value_is(&record, "changed"));
  kyrodb_close(copy);
}

int main(int argc, char** argv) {
  char backup[4096];
  kyrodb* db = NULL;
  kyrodb* second = NULL;
  kyrodb_record record;
  if (argc != 2 || strlen(argv[1]) > 4000) {
    fprintf(stderr, "usage: kyrodb_test DIRECTORY\n");
    return 2;
  }
  snprintf(backup, sizeof backup, "%s-backup", argv[1]);
  test_library();
  db = open_small(argv[1]);
  if (db == NULL) return 1;
  CHECK(kyrodb_open(argv[1], NULL, &second) == KYRODB_BUSY);
  test_one_key(db);
  test_lifetimes(db);
  test_batches(db);
  test_many(db);
  test_iterators(db);
  test_statistics(db);
  test_backup(db, backup);
  kyrodb_close(db);
  CHECK(kyrodb_open(argv[1], NULL, &db) == KYRODB_OK);
  CHECK(get(db, 101, &record) == KYRODB_OK && value_is(&record, "ten"));
  kyrodb_close(db);
  kyrodb_close(NULL);
  kyrodb_options_destroy(NULL);
  kyrodb_batch_destroy(NULL);
  printf("%s: %d failures\n", kyrodb_version(), failures);
  return failures == 0 ? 0 : 1;
}
