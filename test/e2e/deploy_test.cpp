// What stands under scripts/deploy and what `make install` puts into place: checked with the tools
// that will read it, where they are installed, and against the binary.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

// Where a program of this name is; says that the test is skipped where it is not.
std::string find_tool(const std::string& name, const std::string& package) {
  for (const char* dir : {"/usr/local/bin/", "/usr/bin/", "/usr/sbin/", "/bin/"}) {
    if (access((dir + name).c_str(), X_OK) == 0) return dir + name;
  }
  WARN("skipped: " << name << " (Debian: " << package << ") is not installed");
  return {};
}

// All files and links below `dir`, relative to it.
std::set<std::string> files_below(const std::string& dir) {
  std::set<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (entry.is_symlink() || !entry.is_directory()) {
      found.insert(entry.path().lexically_relative(dir).string());
    }
  }
  return found;
}

// The arguments of a JSON list such as ["/kyrodb", "health"] at the end of the Dockerfile's
// instruction.
Args dockerfile_words(const std::string& dockerfile, const std::string& instruction) {
  const size_t at = dockerfile.find("\n" + instruction);
  INFO(instruction);
  REQUIRE(at != dockerfile.npos);
  const size_t begin = dockerfile.find('[', at);
  JsonReader json(std::string_view(dockerfile).substr(begin, dockerfile.find(']', at) + 1 - begin));
  REQUIRE(json.enter_array());
  Args words;
  while (json.next_element()) {
    std::string_view word;
    std::string unescaped;
    REQUIRE(json.read_string(&word, &unescaped));
    words.emplace_back(word);
  }
  REQUIRE(json.finish().ok());
  return words;
}

}  // namespace

TEST_CASE("The systemd unit's exposure is at most 1.5", "[e2e]") {
  const std::string analyze = find_tool("systemd-analyze", "systemd");
  if (analyze.empty()) return;
  const Outcome outcome = run_program({analyze, "security", "--offline=true", "--no-pager",
                                       "--threshold=15", "scripts/deploy/kyrodb.service"});
  INFO(outcome.out << outcome.err);
  const size_t at = outcome.out.find("Overall exposure level");
  REQUIRE(at != outcome.out.npos);
  std::printf("systemd-analyze security: %s\n", outcome.out.substr(at, 60).c_str());
  CHECK(outcome.exit_code == 0);  // above the threshold it fails
}

TEST_CASE("systemd understands every line of the unit, and of a replica's", "[e2e]") {
  const std::string analyze = find_tool("systemd-analyze", "systemd");
  if (analyze.empty()) return;
  // A copy that names the binary there is and no manual page.
  std::string unit = read_file("scripts/deploy/kyrodb.service");
  const auto replace = [&unit](const std::string& from, const std::string& to) {
    const size_t at = unit.find(from);
    REQUIRE(at != unit.npos);
    unit.replace(at, from.size(), to);
  };
  replace("\nExecStart=/usr/local/bin/kyrodb ", "\nExecStart=" + server_binary() + " ");
  replace("Documentation=man:kyrodb(1)\n", "");
  TempDir dir;
  std::ofstream(dir.file("kyrodb.service")) << unit;
  fs::create_directory(dir.file("kyrodb.service.d"));
  fs::copy("scripts/deploy/cluster/replica.conf", dir.file("kyrodb.service.d"));
  const Outcome outcome = run_program({analyze, "verify", dir.file("kyrodb.service")});
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.err.find("kyrodb.service:") == outcome.err.npos);
  CHECK(outcome.err.find("replica.conf:") == outcome.err.npos);
}

TEST_CASE("The server starts as the unit starts it", "[e2e]") {
  const std::string unit = read_file("scripts/deploy/kyrodb.service");
  CHECK(unit.find("\nExecStart=/usr/local/bin/kyrodb serve 127.0.0.1 3030\n") != unit.npos);
  CHECK(unit.find("\nType=notify\n") != unit.npos);
  TempDir dir;
  Args environment;
  for (size_t at = 0; (at = unit.find("\nEnvironment=", at)) != unit.npos;) {
    at += std::string_view("\nEnvironment=").size();
    environment.push_back(unit.substr(at, unit.find('\n', at) - at));
  }
  REQUIRE(environment.size() == 2);
  CHECK(environment[0] == "KYRODB_DATA_DIR=/var/lib/kyrodb");
  environment[0] = "KYRODB_DATA_DIR=" + dir.file("data");
  Process server({server_binary(), "serve", "127.0.0.1", "0"}, {}, environment);
  REQUIRE(server.wait_for_err("\"event\":\"serving\""));
  CHECK(fs::exists(dir.file("data/manifest.json")));
  server.signal(SIGTERM);
  CHECK(server.wait().exit_code == 0);
}

TEST_CASE("The container's commands are commands of the binary", "[e2e]") {
  const std::string dockerfile = read_file("scripts/deploy/Dockerfile");
  CHECK(dockerfile.find("\nFROM scratch\n") != dockerfile.npos);
  CHECK(dockerfile_words(dockerfile, "ENTRYPOINT") == Args{"/kyrodb"});
  Args serve = dockerfile_words(dockerfile, "CMD");
  REQUIRE(serve == Args{"serve", "0.0.0.0", "3030"});
  // Without a token it must refuse to listen to everyone.
  serve.insert(serve.begin(), server_binary());
  CHECK(run_program(serve).exit_code == 2);

  Args health = dockerfile_words(dockerfile, "HEALTHCHECK");
  REQUIRE(health.front() == "/kyrodb");
  health.front() = server_binary();
  TempDir dir;
  ServerProcess server(dir.file("data"));
  health.push_back(server.url());
  CHECK(run_program(health).exit_code == 0);
  CHECK(server.stop().exit_code == 0);
  CHECK(run_program(health).exit_code == 1);
}

TEST_CASE("buildah builds the image from the static binary and an empty directory", "[e2e]") {
  const std::string buildah = find_tool("buildah", "buildah");
  if (buildah.empty()) return;
  TempDir dir;
  fs::create_directories(dir.file("context/data"));
  fs::copy_file(server_binary(), dir.file("context/kyrodb"));
  Args argv{buildah,
            "--root",
            dir.file("root"),
            "--runroot",
            dir.file("run"),
            "--storage-driver",
            "vfs",
            "build",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "-f",
            "scripts/deploy/Dockerfile",
            "-t",
            "kyrodb:test",
            dir.file("context")};
  const Outcome built = run_program(argv);
  if (built.exit_code != 0 && built.err.find("user namespace") != built.err.npos) {
    WARN("skipped: buildah may not build here: " << built.err);
    return;
  }
  INFO(built.out << built.err);
  REQUIRE(built.exit_code == 0);
  argv.resize(7);
  for (const char* word : {"inspect", "--type", "image", "kyrodb:test"}) argv.emplace_back(word);
  const Outcome image = run_program(argv);
  CHECK(image.exit_code == 0);
  CHECK(image.out.find("\"User\": \"65532:65532\"") != image.out.npos);
  CHECK(image.out.find("/kyrodb") != image.out.npos);
}

TEST_CASE("What is installed is complete, and uninstalling leaves what was there before", "[e2e]") {
  TempDir dir;
  const std::string build = fs::path(server_binary()).parent_path().string();
  const Args environment{"DESTDIR=" + dir.path(), "PREFIX=/usr"};
  const auto run_install = [&](const std::string& what) {
    const Outcome outcome =
        run_program({fs::absolute("scripts/install.sh").string(), what, build}, {}, environment);
    INFO(outcome.out << outcome.err);
    return outcome.exit_code;
  };
  CHECK(run_install("uninstall") == 1);
  fs::create_directories(dir.file("usr/bin"));
  fs::create_directories(dir.file("usr/include/kyro"));
  std::ofstream(dir.file("usr/include/kyro/somebody-elses.h")) << "mine";
  const std::set<std::string> before = files_below(dir.path());

  REQUIRE(run_install("install") == 0);
  const std::set<std::string> installed = files_below(dir.path());
  for (const char* name :
       {"bin/kyrodb", "bin/kyrodbctl", "include/kyro/kyro.h", "include/kyro/base/status.h",
        "include/kyro/index/rmi.h", "include/kyro/storage/engine.h", "include/kyro/embed/store.h",
        "lib/systemd/system/kyrodb.service", "share/kyrodb/openapi.json",
        "share/kyrodb/grafana.json", "share/kyrodb/alerts.yml", "share/doc/kyrodb/LICENSE"}) {
    INFO(name);
    CHECK(installed.contains("usr/" + std::string(name)));
  }
  CHECK_FALSE(fs::exists(dir.file("usr/include/kyro/net")));
  CHECK(run_program({dir.file("usr/bin/kyrodbctl"), "--help"}).exit_code == 0);
  if (kSanitized) {
    WARN("skipped: the library is not built with sanitizers");
  } else {
    CHECK(read_file(dir.file("usr/lib/pkgconfig/kyrodb.pc")).starts_with("prefix=/usr\n"));
    CHECK(installed.contains("usr/lib/libkyrodb.a"));
    CHECK(fs::read_symlink(dir.file("usr/lib/libkyrodb.so")) == "libkyrodb.so.0");
    CHECK(installed.contains("usr/lib/libkyrodb.so.0"));
  }
  CHECK(read_file(dir.file("usr/lib/systemd/system/kyrodb.service"))
            .find("ExecStart=/usr/bin/kyrodb ") != std::string::npos);

  // An upgrade in which a header is gone.
  std::ofstream(dir.file("usr/include/kyro/base/old.h")) << "old";
  std::ofstream(dir.file("usr/share/kyrodb/installed"), std::ios::app)
      << "include/kyro/base/old.h\n";
  REQUIRE(run_install("install") == 0);
  CHECK(files_below(dir.path()) == installed);

  REQUIRE(run_install("uninstall") == 0);
  CHECK(files_below(dir.path()) == before);
  CHECK(fs::exists(dir.file("usr/bin")));  // was there before, though empty
  CHECK_FALSE(fs::exists(dir.file("usr/share")));
}

TEST_CASE("An address is found in the range that holds it, and in no other", "[e2e]") {
  if (find_tool("curl", "curl").empty()) return;
  Served served;
  const auto run = [&](Args words) {
    words.insert(words.begin(), {fs::absolute("scripts/examples/ip_owner/ip_owner.sh").string(),
                                 served.server.url()});
    return run_program(words);
  };
  CHECK(run({"who", "10.0.0.1"}).exit_code == 3);  // the table is empty
  CHECK(run({"load"}).out == "19 ranges\n");
  const auto owner = [&](const std::string& address) {
    const Outcome outcome = run({"who", address});
    return outcome.exit_code == 0 ? outcome.out : std::to_string(outcome.exit_code);
  };
  CHECK(owner("9.255.255.255") == "3");
  CHECK(owner("10.0.0.0") == "10.0.0.0: private use (RFC 1918), 10.0.0.0 to 10.255.255.255\n");
  CHECK(owner("10.255.255.255").starts_with("10.255.255.255: private use"));
  CHECK(owner("11.0.0.0") == "3");
  CHECK(owner("0.0.0.0").starts_with("0.0.0.0: this network"));
  CHECK(owner("255.255.255.255").starts_with("255.255.255.255: limited broadcast"));
  CHECK(owner("198.51.100.7").find("TEST-NET-2") != std::string::npos);
  for (const char* wrong : {"1.2.3", "1.2.3.256", "::1", ""}) CHECK(owner(wrong) == "2");
}

}  // namespace kyro::test
