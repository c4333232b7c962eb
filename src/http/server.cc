#include "http/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "http/connection.h"
#include "http/tls_context.h"

namespace millrace {

using http_internal::Connection;
using http_internal::error_code;
using http_internal::kAwait;
namespace asio = boost::asio;
using asio::ip::tcp;

struct HttpServer::Impl {
  explicit Impl(HttpConfig config, HttpHandler handler)
      : shared(std::make_shared<http_internal::Shared>(std::move(config), std::move(handler))),
        acceptor(asio::make_strand(shared->context)),
        retry(acceptor.get_executor()) {}

  Status Listen();
  asio::awaitable<void> AcceptLoop();
  void Admit(tcp::socket socket);
  std::vector<std::shared_ptr<Connection>> Snapshot() const;
  bool WaitUntilEmpty(std::chrono::milliseconds limit);

  std::shared_ptr<http_internal::Shared> shared;
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  std::vector<std::thread> threads;
  uint16_t port = 0;

  mutable std::mutex mutex;  // of what follows
  std::condition_variable emptied;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  bool stopping = false;
};

Status HttpServer::Impl::Listen() {
  const HttpConfig& config = shared->config;
  error_code error;
  const asio::ip::address address = asio::ip::make_address(config.address, error);
  if (error) return Error{"'" + config.address + "' is not an IP address to listen on."};
  const tcp::endpoint endpoint(address, config.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) port = acceptor.local_endpoint(error).port();
  if (!error) return {};
  error_code ignored;
  acceptor.close(ignored);
  return Error{"Cannot listen on " + config.address + " port " + std::to_string(config.port) +
                   ": " + error.message() + ".",
               ErrorKind::kIo};
}

asio::awaitable<void> HttpServer::Impl::AcceptLoop() {
  while (acceptor.is_open()) {
    auto [error, socket] =
        co_await acceptor.async_accept(asio::make_strand(shared->context), kAwait);
    if (!error) {
      Admit(std::move(socket));
    } else if (error == asio::error::operation_aborted) {
      co_return;
    } else {
      // Out of file descriptors, usually: existing connections will give some back.
      retry.expires_after(std::chrono::milliseconds(50));
      co_await retry.async_wait(kAwait);
    }
  }
}

void HttpServer::Impl::Admit(tcp::socket socket) {
  std::unique_lock lock(mutex);
  if (stopping || connections.size() >= shared->config.max_connections) {
    lock.unlock();
    if (shared->config.tls) return;  // a handshake is what it cannot afford now
    const HttpResponse busy = shared->config.error_format(
        503, "The server has too many connections; try again later.", {});
    const std::string bytes =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: " + busy.content_type +
        "\r\nContent-Length: " + std::to_string(busy.body.size()) +
        "\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" + busy.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(bytes), ignored);  // fits an empty send buffer
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    return;
  }
  auto connection =
      std::make_shared<Connection>(std::move(socket), shared, [this](Connection* ended) {
        std::lock_guard guard(mutex);
        connections.erase(ended);
        if (connections.empty()) emptied.notify_all();
      });
  connections.emplace(connection.get(), connection);
  lock.unlock();
  connection->Start();
}

std::vector<std::shared_ptr<Connection>> HttpServer::Impl::Snapshot() const {
  std::lock_guard lock(mutex);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& entry : connections) all.push_back(entry.second);
  return all;
}

bool HttpServer::Impl::WaitUntilEmpty(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex);
  return emptied.wait_for(lock, limit, [this] { return connections.empty(); });
}

HttpServer::HttpServer(HttpConfig config, HttpHandler handler)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(handler))) {}

HttpServer::~HttpServer() { Stop(std::chrono::milliseconds(0)); }

Status HttpServer::Start() {
  CHECK(impl_->threads.empty());
  RETURN_IF_ERROR(ReloadTls());
  RETURN_IF_ERROR(impl_->Listen());
  asio::co_spawn(impl_->acceptor.get_executor(), impl_->AcceptLoop(), asio::detached);
  for (int i = 0; i < impl_->shared->config.io_threads; ++i) {
    impl_->threads.emplace_back([impl = impl_.get()] {
      // The acceptor keeps the context busy until Stop closes it and the connections end.
      while (true) {
        try {
          impl->shared->context.run();
          return;
        } catch (const std::exception&) {
          // A callback without memory: the other connections go on.
        }
      }
    });
  }
  return {};
}

Status HttpServer::ReloadTls() {
  http_internal::Shared& shared = *impl_->shared;
  if (!shared.config.tls) return {};
  ASSIGN_OR_RETURN(auto context, http_internal::MakeTlsContext(*shared.config.tls));
  std::lock_guard lock(shared.tls_mutex);
  shared.tls = std::move(context);
  return {};
}

uint16_t HttpServer::port() const { return impl_->port; }

size_t HttpServer::connections() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->connections.size();
}

bool HttpServer::Stop(std::chrono::milliseconds limit) {
  if (impl_->threads.empty()) return true;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  asio::post(impl_->acceptor.get_executor(), [impl = impl_.get()] {
    error_code ignored;
    impl->acceptor.close(ignored);
    impl->retry.cancel();
  });
  for (const auto& connection : impl_->Snapshot()) connection->FinishSoon();
  const bool finished = impl_->WaitUntilEmpty(limit);
  if (!finished) {
    for (const auto& connection : impl_->Snapshot()) connection->Cut();
  }
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->threads.clear();
  return finished;
}

}  // namespace millrace
