// What a process manager hears from the real binary, by the protocol of sd_notify(3).
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "http/test_client.h"
#include "tests/end_to_end/server_process.h"

namespace millrace {
namespace {

// A service manager's socket, and the variables that name it for a process started meanwhile.
class ManagerSocket {
 public:
  // `name` is a path, or "@" and an abstract name.
  explicit ManagerSocket(const std::string& name) : name_(name) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), length), 0)
        << std::strerror(errno);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~ManagerSocket() {
    ::close(fd_);
    if (name_[0] == '/') std::filesystem::remove(name_);
    for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC"}) ::unsetenv(variable);
  }
  ManagerSocket(const ManagerSocket&) = delete;
  ManagerSocket& operator=(const ManagerSocket&) = delete;

  // The next message; empty where none comes for a minute.
  std::string Next() const {
    char bytes[4096];
    const ssize_t size = ::recv(fd_, bytes, sizeof(bytes), 0);
    return size > 0 ? std::string(bytes, static_cast<size_t>(size)) : std::string();
  }

 private:
  std::string name_;
  int fd_ = -1;
};

std::string OwnName(const std::string& start) {
  return start + "millrace-service-test-" + std::to_string(::getpid());
}

TEST(ServiceTest, ReadyWhenItServesAndStoppingWhenItEnds) {
  for (const std::string& name : {OwnName(testing::TempDir()), OwnName("@")}) {
    SCOPED_TRACE(name);
    const ManagerSocket manager(name);
    ServerProcess server(MILLRACE_BINARY, {}, ServerProcess::Until::kStarted);
    const std::string ready = manager.Next();
    EXPECT_TRUE(ready.starts_with("READY=1\n")) << ready;
    EXPECT_NE(ready.find("\nSTATUS=serving "), std::string::npos) << ready;
    const auto port = static_cast<uint16_t>(std::atoi(ready.c_str() + ready.rfind(' ')));
    TestClient client(port);
    EXPECT_EQ(client.Get("/health/ready").status, 200) << "said READY=1 before it was";
    client.Close();
    server.Terminate();
    const std::string stopping = manager.Next();
    EXPECT_TRUE(stopping.starts_with("STOPPING=1\n")) << stopping;
    EXPECT_EQ(server.WaitForExit(), 0);
  }
}

TEST(ServiceTest, TheWatchdogHearsInTime) {
  const ManagerSocket manager(OwnName("@"));
  ::setenv("WATCHDOG_USEC", "1000000", 1);
  const ServerProcess server(MILLRACE_BINARY, {}, ServerProcess::Until::kStarted);
  EXPECT_TRUE(manager.Next().starts_with("READY=1\n"));
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(manager.Next(), "WATCHDOG=1\n");
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_GE(took, std::chrono::milliseconds(1500)) << "far more often than needed";
}

TEST(ServiceTest, ReloadingWithNothingToReadAnewGoesOn) {
  const ManagerSocket manager(OwnName("@"));
  ServerProcess server(MILLRACE_BINARY, {}, ServerProcess::Until::kStarted);
  EXPECT_TRUE(manager.Next().starts_with("READY=1\n"));
  ::kill(server.id(), SIGHUP);
  const std::string reloading = manager.Next();
  EXPECT_TRUE(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << reloading;
  EXPECT_TRUE(manager.Next().starts_with("READY=1\n"));
  server.Terminate();
  EXPECT_TRUE(manager.Next().starts_with("STOPPING=1\n"));
  EXPECT_EQ(server.WaitForExit(), 0);
}

TEST(ServiceTest, WithoutAManagerAHangupEndsItInOrder) {
  ServerProcess server(MILLRACE_BINARY, {});
  ASSERT_NE(server.port(), 0);
  ::kill(server.id(), SIGHUP);
  EXPECT_EQ(server.WaitForExit(), 0);
}

TEST(ServiceTest, AManagerThatIsNotThereIsAWarning) {
  for (const char* name : {"/nowhere/at/all", "vsock:2:1234"}) {
    ::setenv("NOTIFY_SOCKET", name, 1);
    ServerProcess server(MILLRACE_BINARY, {});
    ::unsetenv("NOTIFY_SOCKET");
    ASSERT_NE(server.port(), 0);
    server.Terminate();
    EXPECT_EQ(server.WaitForExit(), 0);
    EXPECT_FALSE(server.FirstLine(name).empty());
  }
}

}  // namespace
}  // namespace millrace
