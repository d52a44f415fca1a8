# KyroDB. `make` builds build/kyrodb, `make run` serves it, `make test` runs every test; `make help`
# lists the rest. No configure step, no generated file outside $(BUILD).

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# ARCH=aarch64 builds with Debian's cross compiler into build/aarch64 and tests under qemu-user.
HOST_ARCH := $(shell uname -m)
ARCH      ?= $(HOST_ARCH)
ifneq ($(ARCH),$(HOST_ARCH))
CXX       := $(ARCH)-linux-gnu-g++
OBJCOPY   := $(ARCH)-linux-gnu-objcopy
BUILD     ?= build/$(ARCH)
EMULATOR  := qemu-$(ARCH)-static
TEST_LINK := -static
endif

BUILD   ?= build
OBJCOPY ?= objcopy
SECS  ?= 60
# Extra arguments for the test program, such as ARGS='"a sentence" -s'. With them it runs as one
# process.
ARGS  ?=

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif

# --- Flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast \
            -Wformat=2 -Wundef -Werror
# Which lock guards what (kyro/base/thread_annotations.h): only clang checks it.
ifneq ($(findstring clang,$(CXX)),)
WARNINGS += -Wthread-safety
endif
COMMON   := -std=c++20 -I. -pthread $(WARNINGS) -fstack-protector-strong
ifeq ($(NO_METRICS),1)
COMMON   += -DKYRO_NO_METRICS
endif

# SAN=address,undefined or SAN=thread builds everything with sanitizers: the targets asan and tsan.
# With them g++ 12 sees uninitialised variables in its own library's headers, and takes twice as long
# for tests at -O1 as at -O0.
ifdef SAN
TESTING  := -O0
COMMON   += -g1 -fsanitize=$(SAN) -fno-sanitize=vptr -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -Wno-maybe-uninitialized
PRODUCT  := -O1 -fPIE -fno-exceptions -fno-rtti
LINK     := -pie
else
TESTING  := -O1
COMMON   += -D_FORTIFY_SOURCE=2
PRODUCT  := -O2 -fPIE -fno-exceptions -fno-rtti -ffunction-sections -fdata-sections
LINK     := -static-pie -s -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-z,noexecstack
# The table of what a loader has to relocate, in a hundredth of its bytes: glibc reads that from 2.36
# on, Debian's linker makes it for x86-64 only.
GLIBC    := $(shell echo '__GLIBC__ __GLIBC_MINOR__' | $(CXX) -include features.h -E -P -x c - | tail -n 1)
ifeq ($(ARCH) $(shell [ "$(subst $() ,,$(GLIBC))" -ge 236 ] && echo packs),x86_64 packs)
LINK     += -Wl,-z,pack-relative-relocs
endif
endif

# Only the product sees these, so a new commit compiles its few files.
IDENTITY := -DKYRO_VERSION='"$(VERSION)"' -DKYRO_COMMIT='"$(COMMIT)"'

HEADERS      := $(sort $(shell find kyro -name '*.h'))
TESTS        := $(sort $(shell find test -name '*_test.cpp'))
FUZZERS      := $(sort $(wildcard test/fuzz/*_fuzz.cpp))

# --- Product -------------------------------------------------------------------------------------

.PHONY: all lib man completions run install uninstall check-install deb tarball image test smoke smoke-build \
        unit e2e run-tests test-program crash-matrix disk-matrix damage cluster-torture cluster-demo asan asan-build tsan fuzz fuzz-build \
        bench bench-deps bench-build bench-index bench-engine bench-memory bench-text bench-http bench-cluster proto lint headers format \
        clean help FORCE
.DELETE_ON_ERROR:
.PRECIOUS: $(BUILD)/fuzz/%

all: $(BUILD)/kyrodb $(BUILD)/kyrodbctl

# Holds the flags; newer than what was built with other ones.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CXX) $(COMMON) $(PRODUCT) $(LINK) $(TESTING)' | cmp -s - $@ || \
	  printf '%s\n' '$(CXX) $(COMMON) $(PRODUCT) $(LINK) $(TESTING)' > $@

$(BUILD)/identity: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(VERSION) $(COMMIT)' | cmp -s - $@ || printf '%s\n' '$(VERSION) $(COMMIT)' > $@

$(BUILD)/kyrodb.o: kyrodb.cpp $(BUILD)/flags $(BUILD)/identity $(BUILD)/page/page.inc
	$(CXX) $(COMMON) $(PRODUCT) $(IDENTITY) -I$(BUILD)/page -MMD -MP -c $< -o $@

# The client waits for the network and people: for size.
$(BUILD)/kyrodbctl.o: kyrodbctl.cpp $(BUILD)/flags $(BUILD)/identity
	$(CXX) $(COMMON) $(PRODUCT) -Os $(IDENTITY) -MMD -MP -c $< -o $@

# The status page as two constants.
$(BUILD)/page/page.inc: kyro/server/page.html scripts/make_page.sh
	@mkdir -p $(@D)
	scripts/make_page.sh $< > $@

# What both have as inline functions is taken from the first.
$(BUILD)/kyrodb: $(BUILD)/kyrodb.o $(BUILD)/kyrodbctl.o
	$(CXX) $(COMMON) $(PRODUCT) $(LINK) $^ -o $@

$(BUILD)/kyrodbctl: $(BUILD)/kyrodb
	ln -sf kyrodb $@

# The engine to link with (kyro/kyro.h), and the same for C (kyro/embed/kyrodb.h). Only what the map
# names can be seen from outside: neither other templates nor the same headers, compiled otherwise by
# the program, are mixed up with these. (What is unique to a process, in g++'s sense, objcopy cannot
# make local.) The shared library has threads, so it cannot be unloaded.
LIBRARY_MAP := scripts/deploy/libkyrodb.map
lib: $(BUILD)/libkyrodb.a $(BUILD)/libkyrodb.so.0

LIBRARY_OBJECTS := $(BUILD)/libkyrodb.o $(BUILD)/libkyrodb_c.o
$(LIBRARY_OBJECTS): $(BUILD)/%.o: %.cpp $(BUILD)/flags
	$(CXX) $(COMMON) $(PRODUCT) -DKYRO_VERSION='"$(VERSION)"' -fPIC -fvisibility=hidden \
	  $(if $(findstring clang,$(CXX)),,-fno-gnu-unique) -MMD -MP -c $< -o $@

$(BUILD)/libkyrodb.a: $(LIBRARY_OBJECTS) $(LIBRARY_MAP)
	$(CXX) -r -nostdlib -Wl,--force-group-allocation $(LIBRARY_OBJECTS) -o $(@:.a=.one.o)
	sed -n 's/^    \([_a-z].*\);$$/\1/p' $(LIBRARY_MAP) > $(@:.a=.global)
	$(OBJCOPY) --wildcard --keep-global-symbols=$(@:.a=.global) $(@:.a=.one.o)
	rm -f $@ && $(AR) rcs $@ $(@:.a=.one.o)

$(BUILD)/libkyrodb.so.0: $(LIBRARY_OBJECTS) $(LIBRARY_MAP)
	$(CXX) $(COMMON) $(PRODUCT) -shared -s -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-z,nodelete -Wl,-z,defs \
	  -Wl,-soname,$(@F) -Wl,--version-script=$(LIBRARY_MAP) $(LIBRARY_OBJECTS) -o $@

# What the binary says of itself, as files.
man: $(BUILD)/man/kyrodb.1 $(BUILD)/man/kyrodbctl.1

$(BUILD)/man/%.1: $(BUILD)/kyrodb $(BUILD)/kyrodbctl
	@mkdir -p $(@D)
	$(EMULATOR) $(BUILD)/$* help --man > $@

completions: $(BUILD)/completions/kyrodb $(BUILD)/completions/kyrodbctl \
             $(BUILD)/completions/_kyrodb $(BUILD)/completions/_kyrodbctl

$(BUILD)/completions/_%: $(BUILD)/kyrodb $(BUILD)/kyrodbctl
	@mkdir -p $(@D)
	$(EMULATOR) $(BUILD)/$* completion zsh > $@

$(BUILD)/completions/%: $(BUILD)/kyrodb $(BUILD)/kyrodbctl
	@mkdir -p $(@D)
	$(EMULATOR) $(BUILD)/$* completion bash > $@

run: all
	$(BUILD)/kyrodb serve 127.0.0.1 3030 --data-dir ./data

# --- Installation --------------------------------------------------------------------------------

PREFIX  ?= /usr/local
DESTDIR ?=

install: all lib $(if $(EMULATOR),,man completions)
	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install.sh install $(BUILD)

uninstall:
	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install.sh uninstall

# Into a temporary directory and out of it; the embedding examples against what was installed.
check-install: all lib man completions
	scripts/check_install.sh $(BUILD)

# Packages of $(ARCH) in $(DIST), beside those of others: the same bytes whenever they are made of the
# same binary. SHA256SUMS has them all.
DIST ?= build/dist
deb tarball: all lib man completions
	VERSION='$(VERSION)' MACHINE='$(ARCH)' CXX='$(CXX)' scripts/package.sh $@ $(BUILD) $(DIST)

# A container image of the static binary, with whichever of the builders is there.
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))
image: all
	rm -rf $(BUILD)/image && mkdir -p $(BUILD)/image/data
	cp $(BUILD)/kyrodb $(BUILD)/image/
	$(or $(BUILDER),$(error none of docker, podman and buildah is installed)) build \
	  -f scripts/deploy/Dockerfile -t kyrodb:$(VERSION) $(BUILD)/image

# --- Tests ---------------------------------------------------------------------------------------

# Everything: unit, property and end-to-end tests. The last ones drive the built binary.
test: run-tests

unit: FILTER := "~[e2e]~[.]"
unit: run-tests

e2e: FILTER := "[e2e]"
e2e: run-tests

# Tests start the binary as a program, which an emulated one is not: a script stands for it.
BIN := $(BUILD)$(if $(EMULATOR),/emulated)

# What depends on the machine: checksums, formats on disk and on the wire, the index, memory order,
# the golden store, the binary. For an emulated one, where everything takes ten times as long.
MACHINE_TESTS := base/crc32c base/epoch index/rmi_file storage/run/page storage/delta/delta \
                 storage/engine storage/log/wal storage/manifest storage/record storage/recovery \
                 storage/recovery_files storage/run/run net/http2/hpack net/http2/protocol \
                 server/grpc/protobuf e2e/serve e2e/routes
smoke:
	$(MAKE) TESTS='$(MACHINE_TESTS:%=test/%_test.cpp)' FILTER='"~[.]"' run-tests

smoke-build:
	$(MAKE) TESTS='$(MACHINE_TESTS:%=test/%_test.cpp)' all test-program

run-tests: $(BUILD)/test/kyro_tests all \
           $(if $(EMULATOR),$(BIN)/kyrodb $(BIN)/kyrodbctl,$(BUILD)/bench/http_bench man completions) \
           $(if $(EMULATOR)$(SAN),,lib)
	KYRO_BINARY=$(abspath $(BIN))/kyrodb EMULATOR=$(EMULATOR) \
	  $(if $(ARGS),$(EMULATOR),scripts/run_tests.sh) $(BUILD)/test/kyro_tests $(FILTER) $(ARGS)

$(BUILD)/emulated/%: Makefile
	@mkdir -p $(@D)
	printf '#!/bin/sh\nexec %s -0 %s %s "$$@"\n' $(EMULATOR) $* $(abspath $(BUILD))/$* >$@
	chmod +x $@

test-program: $(BUILD)/test/kyro_tests

# UNIT_TESTS files of tests are one translation unit, those that contain the engine side by side:
# most of the time goes into the headers, which eight share. So a name outside of all scopes, also
# in an unnamed namespace, may stand in one of them only.
UNIT_TESTS   ?= 8
FIRST_TESTS  := $(shell grep -l '"test/support/engine_harness.h"' $(TESTS))
TEST_ORDER   := $(FIRST_TESTS) $(filter-out $(FIRST_TESTS),$(TESTS))
UNIT_STARTS  := $(shell seq 1 $(UNIT_TESTS) $(words $(TESTS)))
TEST_UNITS   := $(UNIT_STARTS:%=$(BUILD)/test/unit_%.o)
TEST_OBJECTS := $(TEST_UNITS) $(BUILD)/test/main.o

# The files from START on.
$(TEST_UNITS:.o=.cpp): $(BUILD)/test/unit_%.cpp: FORCE
	@mkdir -p $(@D)
	@printf '#include "%s"\n' \
	  $(wordlist $*,$(shell expr $* + $(UNIT_TESTS) - 1),$(TEST_ORDER)) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/test/kyro_tests: $(TEST_OBJECTS) $(BUILD)/test/objects
	$(CXX) $(COMMON) $(TEST_OBJECTS) $(TEST_LINK) -o $@

# Newer than a test program of other tests.
$(BUILD)/test/objects: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(TEST_OBJECTS)' | cmp -s - $@ || printf '%s\n' '$(TEST_OBJECTS)' > $@

COMPILE_TEST = $(CXX) $(COMMON) $(TESTING) -MMD -MP -c $< -o $@
$(BUILD)/test/main.o: test/main.cpp $(BUILD)/flags | $(BUILD)/test/catch2
	$(COMPILE_TEST)
$(TEST_UNITS): %.o: %.cpp $(BUILD)/flags | $(BUILD)/test/catch2
	$(COMPILE_TEST)

# Says that the compiler finds <catch2/catch.hpp>.
$(BUILD)/test/catch2:
	@mkdir -p $(@D)
	scripts/install-test-deps.sh $(CXX)
	@touch $@

# Not with detect_stack_use_after_return: g++ 12 aligns its stand-in frames to 32 bytes only, and
# objects of a cache line's alignment then trip UBSan.
asan:
	ASAN_OPTIONS=strict_string_checks=1 \
	  $(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined run-tests

asan-build:
	$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined all test-program $(BUILD)/asan/bench/http_bench

tsan:
	TSAN_OPTIONS=halt_on_error=1 $(MAKE) BUILD=$(BUILD)/tsan SAN=thread run-tests

# The power goes at every call of one seeded workload after the other, for SECS seconds.
crash-matrix: $(BUILD)/test/kyro_tests
	KYRO_CRASH_SECS=$(SECS) $< '[crash-matrix]' $(ARGS)

# A full disk is relieved in every way: real volumes of four sizes, so root's rights are needed.
disk-matrix: $(BUILD)/test/kyro_tests
	$< '[.disk-matrix]' -d yes $(ARGS)

# Members of etcd and replicas on them are killed, stopped and cut off, for SECS seconds.
cluster-torture: $(BUILD)/test/kyro_tests all
	KYRO_BINARY=$(abspath $(BIN))/kyrodb KYRO_TORTURE_SECS=$(SECS) $< '[.cluster-torture]' $(ARGS)

# Three replicas on three members of etcd, on loopback, until Ctrl-C.
cluster-demo: all
	scripts/deploy/cluster/demo.sh $(BUILD)/kyrodb

# Every truncation and every flipped bit of a small store, of which `make test` takes a part.
damage: $(BUILD)/test/kyro_tests
	KYRO_DAMAGE=full $< '[damage]' $(ARGS)

FUZZING ?= -O1 -g1 -fsanitize=fuzzer,address,undefined

# Each fuzz target for SECS seconds; what it found interesting stays in $(BUILD)/fuzz/corpus.
fuzz: $(FUZZERS:test/fuzz/%.cpp=fuzz-%)
fuzz-build: $(FUZZERS:test/fuzz/%.cpp=$(BUILD)/fuzz/%)

fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	cd $(BUILD)/fuzz && ./$* -max_total_time=$(SECS) -timeout=10 -print_final_stats=1 corpus/$* \
	  $(wildcard $(CURDIR)/test/fuzz/corpus/$*)

$(BUILD)/fuzz/%: test/fuzz/%.cpp
	@mkdir -p $(@D)
	clang++ $(COMMON) $(FUZZING) -MMD -MP $< -o $@

# --- Benchmarks ----------------------------------------------------------------------------------

# The gRPC server that ours is compared with needs that library (Debian: libgrpc++-dev and
# protobuf-compiler-grpc).
HAS_GRPC := $(shell pkg-config --exists grpc++ protobuf 2>/dev/null && \
              command -v protoc >/dev/null && command -v grpc_cpp_plugin)
BENCHES  := $(patsubst bench/%.cpp,$(BUILD)/bench/%,$(sort $(wildcard bench/*.cpp)))

# Everything beside its peers, rows and plots in bench/out/$(COMMIT): in under ten minutes, FULL=1 in
# hours, SMOKE=1 in seconds. What was installed just now is found by a make of its own.
bench: bench-deps
	$(MAKE) all bench-build
	BUILD=$(BUILD) COMMIT=$(COMMIT) CXX='$(CXX)' \
	  bench/run_all.sh $(if $(FULL),full,$(if $(SMOKE),smoke,usual))

# What cannot be installed is left out of the comparison.
bench-deps:
	-scripts/install-bench-deps.sh

bench-build: $(filter-out $(if $(HAS_GRPC),,%/grpc_server),$(BENCHES))

# absl's containers are compared with where they are installed (Debian: libabsl-dev).
ABSL := absl_btree absl_flat_hash_map absl_hash
bench-index: $(BUILD)/bench/index_bench
	$< $(ARGS)

# The engine beside those of LMDB, RocksDB and LevelDB that are installed.
bench-engine: $(BUILD)/bench/engine_bench
	$< $(ARGS)

# The same with data several times as large as memory, which a cgroup limits (as root).
bench-memory: $(BUILD)/bench/memory_bench
	$< $(ARGS)

LINKED_WITH_ENGINES := $(BUILD)/bench/engine_bench $(BUILD)/bench/memory_bench
$(LINKED_WITH_ENGINES): $(BUILD)/bench/%: bench/%.cpp $(BUILD)/flags $(BUILD)/identity
	@mkdir -p $(@D)
	$(CXX) $(COMMON) -O2 $(IDENTITY) -MMD -MP $< -o $@ $$(bench/find_engines.sh $(CXX))

# The encoders and decoders of bodies beside memcpy, and OpenSSL's base64 where it is installed
# (Debian: libssl-dev).
bench-text: $(BUILD)/bench/text_bench
	$< $(ARGS)

$(BUILD)/bench/text_bench: bench/text_bench.cpp $(BUILD)/flags $(BUILD)/identity
	@mkdir -p $(@D)
	$(CXX) $(COMMON) -O2 $(IDENTITY) -MMD -MP $< -o $@ \
	  $$(pkg-config --exists libcrypto && echo -DKYRO_BENCH_OPENSSL $$(pkg-config --libs libcrypto))

# The server beside a bare epoll responder, nginx, Redis, memcached, nghttpd and a gRPC server, where
# they are installed.
bench-http: all $(addprefix $(BUILD)/bench/,http_bench epoll_responder summary) \
            $(if $(HAS_GRPC),$(BUILD)/bench/grpc_server)
	BUILD=$(BUILD) bench/http_compare.sh $(ARGS)

# Three replicas on three members of etcd, beside etcd itself and Redis with WAIT 1.
bench-cluster:
	$(MAKE) bench-http ARGS=cluster

# What protoc writes is not held to our warnings.
$(BUILD)/bench/grpc_server: bench/grpc_server.cpp scripts/api/kyrodb.proto
	@mkdir -p $(BUILD)/bench/proto
	protoc -Iscripts/api --cpp_out=$(BUILD)/bench/proto --grpc_out=$(BUILD)/bench/proto \
	  --plugin=protoc-gen-grpc=$(HAS_GRPC) kyrodb.proto
	$(CXX) -std=c++20 -O2 -I. -I$(BUILD)/bench/proto $< $(BUILD)/bench/proto/*.cc -o $@ \
	  $$(pkg-config --cflags --libs grpc++ protobuf)

$(BUILD)/bench/%: bench/%.cpp $(BUILD)/flags $(BUILD)/identity
	@mkdir -p $(@D)
	$(CXX) $(COMMON) -O2 $(IDENTITY) -MMD -MP $< -o $@ \
	  $$(pkg-config --cflags --libs $(ABSL) 2>/dev/null)

# --- Checks --------------------------------------------------------------------------------------

# The descriptors that gRPC reflection hands out, from scripts/api/*.proto.
proto:
	scripts/make_descriptors.sh

lint:
	scripts/lint.sh

# Every header by itself, with the product's flags.
headers: $(HEADERS:%.h=$(BUILD)/headers/%.o)

$(BUILD)/headers/%.o: %.h $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CXX) $(COMMON) $(PRODUCT) -O1 -MMD -MP -include $< -x c++ -c /dev/null -o $@ || \
	  { echo "$< does not compile alone"; exit 1; }

format:
	clang-format -i $(HEADERS) \
	  $(shell find *.cpp test bench scripts/examples -name '*.h' -o -name '*.cpp')

clean:
	rm -rf $(BUILD)

help:
	@echo 'make               build $(BUILD)/kyrodb, a static binary, and its link kyrodbctl'
	@echo 'make lib           libkyrodb.a and libkyrodb.so.0, the engine inside of other programs'
	@echo 'make man           man pages into $(BUILD)/man'
	@echo 'make completions   for bash and zsh into $(BUILD)/completions'
	@echo 'make run           build and serve 127.0.0.1:3030 from ./data'
	@echo 'make install       into $$(DESTDIR)$$(PREFIX), by default /usr/local; uninstall removes it'
	@echo 'make deb tarball   packages into $(DIST), with SHA256SUMS'
	@echo 'make image         a container image, with docker, podman or buildah'
	@echo 'make test          build and run all tests (installs Catch2 where it is missing)'
	@echo 'make unit | e2e    only those within the process | only those that drive the binary'
	@echo 'make asan | tsan   all tests with address and undefined | thread sanitizers'
	@echo 'make crash-matrix SECS=60  power cuts at every call, workload after workload'
	@echo 'make disk-matrix   full disks of four sizes, emptied in every way (as root)'
	@echo 'make cluster-demo  three replicas on three members of etcd, on loopback'
	@echo 'make cluster-torture SECS=600   kill, stop and cut them off under load'
	@echo 'make damage        every truncation and every flipped bit of a small store'
	@echo 'make fuzz SECS=60  every fuzz target so long, with clang'
	@echo 'make bench         all of it beside its peers, with a summary; FULL=1 for hours, SMOKE=1'
	@echo 'make bench-index   the index beside other containers'
	@echo 'make bench-engine  the engine beside LMDB, RocksDB and LevelDB'
	@echo 'make bench-memory  the same with data larger than memory (as root)'
	@echo 'make bench-text    encoders and decoders of bodies beside memcpy'
	@echo 'make bench-http    the server beside bare epoll, nginx, Redis and memcached'
	@echo 'make bench-cluster  replicas on etcd beside etcd and Redis with WAIT 1'
	@echo 'make bench-build   build all benchmarks'
	@echo 'make proto         what the server says of its gRPC services, from scripts/api'
	@echo 'make lint          format, layers, headers alone, shell scripts, file lengths'
	@echo 'make headers       compile every header alone'
	@echo 'make format        format all C++ files in place'
	@echo 'make clean         remove $(BUILD)'
	@echo
	@echo 'CXX=clang++  another compiler    BUILD=dir  another place    NO_METRICS=1  no hot counters'
	@echo "ARGS='…'     for the tests       SAN=thread  build with a sanitizer"
	@echo 'ARCH=aarch64 cross build into build/aarch64, tests under qemu-user'

-include $(shell find $(BUILD)/*.d $(addprefix $(BUILD)/,test bench fuzz headers) -name '*.d' \
           2>/dev/null)
