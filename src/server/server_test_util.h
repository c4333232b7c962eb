// What the server's tests share: a server over sockets with an engine on a FakeModel behind it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/fake_model.h"
#include "http/test_client.h"
#include "server/server.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {

using nlohmann::json;
using std::chrono::milliseconds;

inline constexpr char kChatPath[] = "/v1/chat/completions";
inline constexpr char kTextPath[] = "/v1/completions";

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = BytePairVocabulary().Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(tokenizer).value());
  }

  void StartServer(ServerConfig config = {}, milliseconds step_time = milliseconds(0)) {
    EngineConfig engine_config;
    engine_config.context_length = 2048;
    engine_config.scheduler.max_running = max_running_;
    engine_config.max_queued_requests = max_queue_;
    engine_config.timeline_steps = config.debug_endpoints ? 256 : 0;
    engine_config.speculation.mode = speculation_;
    engine_config.speculation.fixed_draft = 4;
    auto kv = KvStore::Create(FakeModel::Shape(), KvType::kF32, 4096);
    ASSERT_TRUE(kv.ok());
    auto model = std::make_unique<FakeModel>(tokenizer_->vocab_size(), 1 << 20, habit_);
    for (const std::string& name : adapters_) model->AddAdapter(name, name);
    model->on_batch = [step_time, row_time = row_time_](const Batch& batch) {
      size_t rows = 0;
      for (const BatchSequence& sequence : batch.sequences) rows += sequence.tokens.size();
      std::this_thread::sleep_for(step_time + rows * row_time);
    };
    engine_ = std::make_unique<Engine>(engine_config, std::move(model), std::move(kv).value());
    engine_thread_ = std::thread([this] { engine_->Run(); });
    config.log = [this](const RequestRecord& record) {
      std::lock_guard lock(mutex_);
      records_.push_back(record);
    };
    config.random = [this] { return ++random_; };
    config.version = "test";
    ServedModel served;
    served.id = "org/fake";
    served.aliases = {"gpt-4o-mini"};
    served.tokenizer = &*tokenizer_;
    served.engine = engine_.get();
    served.render_chat = [end = prompt_end_](std::string_view chat) -> Result<std::string> {
      std::string text;
      const json parsed = json::parse(chat);
      for (const auto& message : parsed["messages"]) {
        if (message["content"] == "raise") return Error{"the template raises"};
        const json& content = message["content"];
        text +=
            "<|im_start|>" + (content.is_null() ? "" : content.get<std::string>()) + "<|im_end|>";
      }
      return text + end;
    };
    served.surprises = surprises_;
    served.answer_style = answer_style_;
    served.embedding = embedding_side_;
    served.rerank = rerank_side_;
    server_ = std::make_unique<Server>(std::move(config), std::move(served));
    const Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  void TearDown() override {
    server_.reset();
    if (engine_) engine_->Stop();
    if (engine_thread_.joinable()) engine_thread_.join();
  }

  uint16_t port() const { return server_->port(); }
  std::vector<RequestRecord> Records() {
    std::lock_guard lock(mutex_);
    return records_;
  }
  static json Message(const char* role, const json& content) {
    json message = json::object();
    message["role"] = role;
    message["content"] = content;
    return message;
  }
  static json Chat(int max_tokens = 12) {
    return {{"model", "org/fake"},
            {"messages", json::array({Message("user", "hello")})},
            {"max_completion_tokens", max_tokens},
            {"seed", 5},
            {"ignore_eos", true}};
  }
  ClientResponse Post(const std::string& path, const json& body, const std::string& headers = "") {
    return TestClient(port()).Post(path, body.dump(), headers);
  }
  static std::vector<std::string> EventsOf(const std::string& body) {
    std::vector<std::string> events;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == std::string::npos || body.substr(at, 6) != "data: ") {
        ADD_FAILURE() << "no event stream: " << body.substr(at, 200);
        break;
      }
      events.push_back(body.substr(at + 6, end - at - 6));
      at = end + 2;
    }
    return events;
  }

  int32_t max_running_ = 80;
  int32_t max_queue_ = 256;
  Speculation speculation_ = Speculation::kOff;
  float habit_ = 0;                        // of the model: what it says can be foreseen
  std::chrono::microseconds row_time_{0};  // beside the step's, of each token that is computed
  std::function<Result<std::vector<float>>(std::span<const TokenId>)> surprises_;
  SideModel embedding_side_, rerank_side_;
  std::vector<std::string> adapters_;  // names
  AnswerStyle answer_style_;
  std::string prompt_end_;  // behind every rendered chat
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::thread engine_thread_;
  std::unique_ptr<Server> server_;
  std::mutex mutex_;
  std::vector<RequestRecord> records_;
  std::atomic<uint64_t> random_{100};
};

}  // namespace millrace
