// The real binary with two LoRA adapters beside the base model: served together, over a restart
// with blocks on disk, the same text from `millrace run`, and what it says of adapters that do not
// fit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "gguf/gguf.h"
#include "http/test_client.h"
#include "tests/end_to_end/server_process.h"
#include "tests/scratch_folder.h"
#include "tests/tiny_adapter.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class LoraBinaryTest : public testing::Test {
 protected:
  void SetUp() override {
    TinyModelSpec spec;
    spec.tied = false;  // so that what comes next depends on the layers
    const std::vector<std::byte> model = MakeTinyModel(spec);
    const GgufFile file = ParseGguf(model, "tiny.gguf").value();
    model_ = folder_.Write("tiny.gguf", model);
    one_ = folder_.Write("one.gguf", MakeTinyAdapter(file, {.rank = 8, .spread = 0.2, .seed = 1}));
    two_ =
        folder_.Write("two:a=b.gguf", MakeTinyAdapter(file, {.rank = 4, .spread = 0.2, .seed = 2}));
  }

  std::vector<std::string> Flags() const {
    return {model_,
            "--lora",
            "one=" + one_,
            "--lora",
            "two=" + two_ + ":0.5",
            "--prefix-cache-dir",
            (folder_.path() / "cache").string(),
            "--prefix-cache-disk-use",
            "always"};
  }
  static json Complete(const ServerProcess& server, const std::string& model) {
    json ids = json::array();
    for (int i = 0; i < 100; ++i) ids.push_back(65 + i * i % 26);
    const json body = {{"model", model},
                       {"prompt", ids},
                       {"max_tokens", 24},
                       {"temperature", 0},
                       {"ignore_eos", true}};
    const ClientResponse response = TestClient(server.port()).Post("/v1/completions", body.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }
  static std::string TextOf(const json& answer) { return answer["choices"][0]["text"]; }
  static int CachedOf(const json& answer) {
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"];
  }
  // What `millrace run` says of the same prompt.
  std::string RunText(const std::string& flags) const {
    std::string ids;
    for (int i = 0; i < 100; ++i) ids += (i > 0 ? "," : "") + std::to_string(65 + i * i % 26);
    const std::string command = std::string(MILLRACE_BINARY) + " run '" + model_ + "' --tokens " +
                                ids + " --ignore-eos --max-tokens 24 --json " + flags;
    FILE* pipe = popen(command.c_str(), "r");
    std::string out;
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) out.append(buffer, n);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return json::parse(out)["text"];
  }

  ScratchFolder folder_;
  std::string model_, one_, two_;
};

TEST_F(LoraBinaryTest, ServesAdaptersTogether) {
  const std::string models[] = {"tiny", "one", "two"};
  std::map<std::string, std::string> texts;
  {
    ServerProcess server(MILLRACE_BINARY, Flags());
    ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
    EXPECT_THAT(server.FirstLine("adapter one"), HasSubstr("rank 8"));
    EXPECT_THAT(server.FirstLine("adapter two"), HasSubstr("scale 0.5"));
    for (const std::string& model : models) {
      const json answer = Complete(server, model);
      EXPECT_EQ(CachedOf(answer), 0) << "the same prompt, computed under another adapter";
      EXPECT_EQ(answer["model"], model);
      texts[model] = TextOf(answer);
    }
    EXPECT_NE(texts["one"], texts["tiny"]);
    EXPECT_NE(texts["two"], texts["tiny"]);
    EXPECT_NE(texts["one"], texts["two"]);
    // All at once.
    std::vector<std::string> together(9);
    std::vector<std::thread> clients;
    for (size_t i = 0; i < together.size(); ++i)
      clients.emplace_back([&, i] { together[i] = TextOf(Complete(server, models[i % 3])); });
    for (std::thread& client : clients) client.join();
    for (size_t i = 0; i < together.size(); ++i) EXPECT_EQ(together[i], texts[models[i % 3]]);
    EXPECT_EQ(CachedOf(Complete(server, "tiny:one")), 99);
    const ClientResponse unknown =
        TestClient(server.port()).Post("/v1/completions", R"({"model":"three","prompt":"a"})");
    EXPECT_EQ(unknown.status, 404);
    server.Terminate();
    EXPECT_EQ(server.WaitForExit(), 0);
    EXPECT_EQ(server.Count({"request ", "adapter=one"}), 5);
    EXPECT_EQ(server.Count({"request ", "adapter=two"}), 4);
  }
  EXPECT_EQ(RunText(""), texts["tiny"]);
  EXPECT_EQ(RunText("--lora '" + one_ + "'"), texts["one"]);
  EXPECT_EQ(RunText("--lora '" + two_ + ":0.5'"), texts["two"]);

  // The adapters have changed places and one its scale: what is on disk is found by what it was
  // computed with.
  std::vector<std::string> flags = Flags();
  flags[2] = "two=" + two_ + ":0.25";
  flags[4] = "first=" + one_;
  ServerProcess server(MILLRACE_BINARY, flags);
  ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
  EXPECT_EQ(CachedOf(Complete(server, "two")), 0);
  const json first = Complete(server, "first");
  EXPECT_EQ(CachedOf(first), 96);
  EXPECT_EQ(TextOf(first), texts["one"]);
  EXPECT_EQ(TextOf(Complete(server, "tiny")), texts["tiny"]);
}

// What fits is said beside adapters, which `doctor` takes as `serve` does.
TEST_F(LoraBinaryTest, DoctorCountsAdapters) {
  const std::string command = std::string(MILLRACE_BINARY) + " doctor '" + model_ +
                              "' --lora 'one=" + one_ + "' --lora 'two=" + two_ + "' --json";
  FILE* pipe = popen(command.c_str(), "r");
  std::string out;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) out.append(buffer, n);
  ASSERT_EQ(pclose(pipe), 0) << command;
  const json said = json::parse(out);
  ASSERT_EQ(said.at("adapters").size(), 2u);
  EXPECT_EQ(said["adapters"][0]["name"], "one");
  EXPECT_EQ(said["adapters"][0]["rank"], 8);
  const int64_t one = said["adapters"][0]["bytes"], two = said["adapters"][1]["bytes"];
  EXPECT_GT(two, 0);
  EXPECT_EQ(said["adapter_bytes"], one + two);
}

TEST_F(LoraBinaryTest, SaysWhatIsWrongWithAnAdapter) {
  const auto log_of = [this](const std::vector<std::string>& flags) {
    std::vector<std::string> all = {model_};
    all.insert(all.end(), flags.begin(), flags.end());
    ServerProcess server(MILLRACE_BINARY, all, ServerProcess::Until::kStarted);
    EXPECT_NE(server.WaitForExit(), 0);
    return testing::PrintToString(server.Log());
  };
  EXPECT_THAT(log_of({"--lora", one_}), HasSubstr("say NAME=FILE or NAME=FILE:SCALE"));
  EXPECT_THAT(log_of({"--lora", "one="}), HasSubstr("say NAME=FILE or NAME=FILE:SCALE"));
  EXPECT_THAT(log_of({"--lora", "one=" + one_ + ".absent"}), HasSubstr("absent"));
  EXPECT_THAT(log_of({"--lora", "one=" + one_ + ":inf"}), HasSubstr("must be a finite number"));
  EXPECT_THAT(log_of({"--lora", "one=" + one_ + ":1e99"}), HasSubstr("must be a finite number"));
  EXPECT_THAT(log_of({"--lora", "one=" + model_}), HasSubstr("is not 'adapter'"));
  EXPECT_THAT(log_of({"--lora", "a=" + one_, "--lora", "a=" + two_}), HasSubstr("given twice"));
  EXPECT_THAT(log_of({"--lora", "tiny=" + one_}), HasSubstr("another model has that name"));
  ServerProcess adapter(MILLRACE_BINARY, {one_}, ServerProcess::Until::kStarted);
  EXPECT_NE(adapter.WaitForExit(), 0);
  EXPECT_THAT(testing::PrintToString(adapter.Log()), HasSubstr("give the model that it was made"));
}

}  // namespace
}  // namespace millrace
