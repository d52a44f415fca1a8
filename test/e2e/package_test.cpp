// Packages: made twice they are the same bytes; what is in them; a .deb installed, started,
// upgraded, removed and purged on an overlay of this machine.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

// Packages of the binary under test in a folder of `dir`; false, with a warning, where the tools
// are missing or the binary is not what goes into a package.
bool make_package(const std::string& kind, const std::string& to, const std::string& version) {
  const char* const tool = kind == "deb" ? "dpkg-deb" : "tar";
  if (std::system(("command -v " + std::string(tool) + " >/dev/null").c_str()) != 0) {
    WARN("skipped: " << tool << " is not installed");
    return false;
  }
  if (kSanitized) {
    WARN("skipped: a binary with sanitizers is not packed");
    return false;
  }
  const std::string build = fs::path(server_binary()).parent_path().string();
  const Outcome made = run_program({fs::absolute("scripts/package.sh").string(), kind, build, to},
                                   {}, {"VERSION=" + version, "SOURCE_DATE_EPOCH=1700000000"});
  INFO(made.out << made.err);
  REQUIRE(made.exit_code == 0);
  const Outcome sums =
      run_program({"/bin/bash", "-c", "cd " + to + " && sha256sum --check SHA256SUMS"});
  INFO(sums.out);
  REQUIRE(sums.exit_code == 0);
  return true;
}

Outcome shell(const std::string& command) {
  return run_program({"/bin/bash", "-c", command});
}

}  // namespace

TEST_CASE("Packages that are made twice are the same bytes", "[e2e]") {
  const TempDir dir;
  for (const char* kind : {"tarball", "deb"}) {
    for (const char* to : {"one", "two"}) {
      if (!make_package(kind, dir.file(to), "9.8.7")) return;
    }
  }
  const Outcome outcome = shell("diff -r " + dir.file("one") + " " + dir.file("two"));
  INFO(outcome.out);
  CHECK(outcome.exit_code == 0);
}

TEST_CASE("A tarball runs where it was unpacked, and says what it is made of", "[e2e]") {
  const TempDir dir;
  if (!make_package("tarball", dir.file("to"), "9.8.7")) return;
  REQUIRE(shell("cd " + dir.path() + " && tar -xzf to/*.tar.gz && mv kyrodb-9.8.7-linux-* top")
              .exit_code == 0);
  CHECK(run_program({dir.file("top/bin/kyrodb"), "--version"}).exit_code == 0);
  CHECK(run_program({dir.file("top/bin/kyrodbctl"), "--help"}).exit_code == 0);
  for (const char* name : {"LICENSE", "README.md", "include/kyro/kyro.h", "lib/libkyrodb.a",
                           "lib/libkyrodb.so", "lib/libkyrodb.so.0", "lib/pkgconfig/kyrodb.pc",
                           "lib/cmake/kyrodb/kyrodbConfig.cmake", "share/man/man1/kyrodb.1",
                           "share/kyrodb/alerts.yml", "lib/systemd/system/kyrodb.service"}) {
    INFO(name);
    CHECK(fs::exists(dir.file("top/" + std::string(name))));
  }
  const std::string sbom = read_file(dir.file("top/share/doc/kyrodb/kyrodb.spdx"));
  for (const char* line :
       {"SPDXVersion: SPDX-2.3\n", "PackageName: libstdc++\n", "PackageName: glibc\n",
        "Created: 2023-11-14T22:13:20Z\n", "GPL-3.0-or-later WITH GCC-exception-3.1\n"}) {
    INFO(line);
    CHECK(contains(sbom, line));
  }
  CHECK_FALSE(contains(sbom, "@"));
  CHECK_FALSE(contains(sbom, "PackageVersion: \n"));
}

TEST_CASE("lintian finds no error in the Debian packages", "[e2e]") {
  const TempDir dir;
  if (!make_package("deb", dir.file("to"), "9.8.7")) return;
  if (shell("command -v lintian").exit_code != 0) {
    WARN("skipped: lintian is not installed");
    return;
  }
  const Outcome outcome = shell("lintian --fail-on error " + dir.file("to") + "/*.deb");
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK_FALSE(contains(outcome.out, "E: "));
  CHECK(shell("ls " + dir.file("to") + "/*.deb | wc -l").out == "3\n");
}

// What test/package/on_overlay.sh does with two packages, in one of its ways.
void check_on_overlay(const std::string& way, const std::string& packages) {
  constexpr int kSkipped = 77;
  const std::string command = "test/package/on_overlay.sh " + way + " " + packages + " </dev/null";
  // Beside compilers apt takes its time.
  const Outcome outcome = Process({"/bin/bash", "-c", command}).wait(std::chrono::minutes(6));
  INFO(outcome.out << outcome.err);
  if (outcome.exit_code == kSkipped) {
    WARN(outcome.out);
    return;
  }
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.ends_with("== done\n"));
}

// Installs 9.8.7, upgrades to 9.8.8 and purges.
void check_upgrade(const std::string& way) {
  const TempDir dir;
  if (!make_package("deb", dir.file("old"), "9.8.7")) return;
  if (!make_package("deb", dir.file("new"), "9.8.8")) return;
  check_on_overlay(way, dir.file("old") + "/kyrodb_*.deb " + dir.file("new") + "/kyrodb_*.deb");
}

TEST_CASE("A Debian package is installed, serves, is upgraded, and keeps its data when purged",
          "[e2e]") {
  check_upgrade("plain");
}

TEST_CASE("On a booted system apt installs the package and systemd starts, restarts and ends it",
          "[e2e]") {
  check_upgrade("booted");
}

TEST_CASE("A program is built with the packages for developers, and runs with the library alone",
          "[e2e]") {
  const TempDir dir;
  if (!make_package("deb", dir.file("to"), "9.8.7")) return;
  check_on_overlay("developer",
                   dir.file("to") + "/libkyrodb0_*.deb " + dir.file("to") + "/kyrodb-dev_*.deb");
}

}  // namespace kyro::test
