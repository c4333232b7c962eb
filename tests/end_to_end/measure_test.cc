// The real binary: a small measurement from workload to report, interrupted and taken up again;
// traffic recorded by a server and looked at; configuration files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "http/test_client.h"
#include "tests/end_to_end/server_process.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Finished {
  int code = -1;
  std::string output;  // standard output and standard error
};

Finished RunBinary(const std::string& arguments, const std::string& environment = "") {
  Finished finished;
  const std::string command =
      environment + " '" + std::string(MILLRACE_BINARY) + "' " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return finished;
  char bytes[4096];
  for (size_t n = 0; (n = std::fread(bytes, 1, sizeof(bytes), pipe)) > 0;)
    finished.output.append(bytes, n);
  const int status = ::pclose(pipe);
  finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return finished;
}

std::string TextOfFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

class MeasureTest : public testing::Test {
 protected:
  MeasureTest() {
    std::string name =
        (std::filesystem::temp_directory_path() / "millrace-measure-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~MeasureTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const char* name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
};

TEST_F(MeasureTest, AFirstLookGivesAReportAndIsNotRunTwice) {
  const std::string measure =
      "measure generate:chat --requests 40 --requests-per-run 4 --quick "
      "--switches prefix-cache --serve-flags '--threads 1' --out " +
      Path("out");
  const Finished first = RunBinary(measure);
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("rules"));
  EXPECT_THAT(first.output, HasSubstr("it ranks, and claims nothing"));
  const json report = json::parse(TextOfFile(folder_ / "out/report.json"));
  ASSERT_EQ(report["switches"].size(), 1);
  const json& prefix = report["switches"][0];
  EXPECT_EQ(prefix["subject"], "prefix reuse");
  // On a slow build answers miss their targets and come in one piece: no goodput, no gaps.
  EXPECT_GE(prefix["metrics"].size(), 4);
  EXPECT_EQ(prefix["metrics"][0]["rounds"], 5);
  EXPECT_TRUE(prefix["metrics"][0]["verdict"].is_null());
  EXPECT_TRUE(prefix["answers"]["promised_equal"]);
  EXPECT_EQ(prefix["answers"]["answers"], 20);
  EXPECT_EQ(prefix["answers"]["differing"], 0);
  EXPECT_EQ(report["recommended"], "");
  EXPECT_THAT(TextOfFile(folder_ / "out/report.html"), HasSubstr("A first look"));
  const std::string runs = TextOfFile(folder_ / "out/runs.csv");
  EXPECT_EQ(std::count(runs.begin(), runs.end(), '\n'), 1 + 5 * 5);

  const Finished again = RunBinary(measure);
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.output, HasSubstr("where 25 runs were done"));
  EXPECT_EQ(TextOfFile(folder_ / "out/runs.csv"), runs);
  // Of both outputs the last is the report.
  const Finished as_json = RunBinary(measure + " --json");
  ASSERT_EQ(as_json.code, 0) << as_json.output;
  const size_t begin = as_json.output.find("\n{\n");
  ASSERT_NE(begin, std::string::npos) << as_json.output;
  EXPECT_EQ(json::parse(as_json.output.substr(begin)),
            json::parse(TextOfFile(folder_ / "out/report.json")));
  const Finished other = RunBinary(measure + " --max-tokens 7");
  EXPECT_NE(other.code, 0);
  EXPECT_THAT(other.output, HasSubstr("belongs to another measurement"));
}

TEST_F(MeasureTest, TheReportSaysWhatPrecisionAndReductionKeep) {
  const Finished run = RunBinary(
      "measure demo --requests 24 --requests-per-run 4 --quick --switches kv-type,reduce "
      "--serve-flags '--threads 1' --out " +
      Path("out"));
  ASSERT_EQ(run.code, 0) << run.output;
  const json report = json::parse(TextOfFile(folder_ / "out/report.json"));
  ASSERT_EQ(report["predictions"].size(), 1) << run.output;
  const json& prediction = report["predictions"][0];
  EXPECT_EQ(prediction["configuration"], "all on");
  EXPECT_EQ(prediction["precision"], "embedded model, q8_0 KV cache, flash attention");
  EXPECT_GT(prediction["kl"]["mean"], 0);
  EXPECT_LT(prediction["kl"]["mean"], 0.01);
  double all = 0, reduced = 0;
  for (const json& row : report["retrieval"]) {
    if (row["configuration"] == "baseline") all = row["kept_passages"];
    if (row["configuration"] == "all on") reduced = row["kept_passages"];
    EXPECT_GT(row["answer_coverage"], 0.9);
  }
  EXPECT_GT(all, reduced);
  EXPECT_GE(reduced, 1);
}

TEST_F(MeasureTest, BadInputIsRefusedInASentence) {
  const std::string out = " --quick --out " + Path("out");
  EXPECT_THAT(RunBinary("measure /nowhere.jsonl" + out).output, HasSubstr("cannot open"));
  EXPECT_THAT(RunBinary("measure --switches warp-drive" + out).output,
              HasSubstr("--switches must name some of prefix-cache"));
  EXPECT_THAT(RunBinary("measure --slo speed=1" + out).output, HasSubstr("is no target"));
  EXPECT_THAT(RunBinary("measure --arrivals poisson" + out).output, HasSubstr("need a --rate"));
  EXPECT_THAT(RunBinary("measure --arrivals recorded" + out).output,
              HasSubstr("has no timestamps"));
  std::ofstream(folder_ / "w.jsonl") << R"({"prompt": "p", "store": "docs"})";
  EXPECT_THAT(RunBinary("measure " + Path("w.jsonl") + out).output,
              HasSubstr("--serve-flags '--store docs=FILE'"));
  EXPECT_THAT(
      RunBinary("measure " + Path("w.jsonl") + out + " --serve-flags '--store mydocs=x'").output,
      HasSubstr("--serve-flags '--store docs=FILE'"));
  EXPECT_THAT(RunBinary("workload summary generate:nonsense").output, HasSubstr("choose chat"));
}

void Ask(uint16_t port, const std::string& text) {
  TestClient client(port);
  const json body = {{"messages", {{{"role", "user"}, {"content", text}}}},
                     {"prompt_cache_key", "somebody"},
                     {"max_tokens", 4}};
  EXPECT_EQ(client.Post("/v1/chat/completions", body.dump()).status, 200);
}

TEST_F(MeasureTest, RecordedTrafficIsAWorkload) {
  for (const char* texts : {"on", "off"}) {
    const std::string file = Path(texts);
    {
      ServerProcess server(MILLRACE_BINARY, {"--record", file, "--record-texts", texts});
      ASSERT_NE(server.port(), 0);
      Ask(server.port(), "What is the secret of Lum?");
      Ask(server.port(), "What is the secret of Lum?");
      TestClient(server.port()).Post("/v1/chat/completions", "{}");  // refused, so not recorded
    }
    const std::string recorded = TextOfFile(file);
    EXPECT_EQ(recorded.find("secret") != std::string::npos, texts == std::string("on"));
    EXPECT_EQ(recorded.find("somebody") != std::string::npos, texts == std::string("on"));
    const Finished summary = RunBinary("workload summary --json " + file);
    ASSERT_EQ(summary.code, 0) << summary.output;
    const json s = json::parse(summary.output);
    EXPECT_EQ(s["requests"], 2);
    EXPECT_EQ(s["sessions"], 1);
    EXPECT_EQ(s["with_text"], texts == std::string("on") ? 2 : 0);
    EXPECT_EQ(s["output_tokens"]["mean"], 4);
  }
}

// Of every route, as a chat or a completion that asks for the same.
TEST_F(MeasureTest, RecordedTrafficKeepsWhatShapesItsAnswers) {
  const std::string file = Path("routes");
  const json question = {{{"role", "user"}, {"content", "What colour is the mill?"}}};
  const json document = {{"title", "Mills"}, {"text", "The mill is red."}};
  const json source = {
      {"type", "text"}, {"media_type", "text/plain"}, {"data", "The mill is red."}};
  const json parameters = {{"type", "object"}, {"properties", {{"a", {{"type", "string"}}}}}};
  {
    ServerProcess server(MILLRACE_BINARY, {"--record", file});
    ASSERT_NE(server.port(), 0);
    const auto ask = [&](const std::string& route, json body) {
      body[route == "/v1/responses" ? "max_output_tokens" : "max_tokens"] = 4;
      EXPECT_EQ(TestClient(server.port()).Post(route, body.dump()).status, 200) << route;
    };
    ask("/v1/chat/completions",
        {{"messages", question}, {"documents", {document}}, {"stop", "!"}, {"temperature", 0.5}});
    ask("/v1/messages", {{"system", "Be short."},
                         {"messages",
                          {{{"role", "user"},
                            {"content",
                             {{{"type", "document"}, {"title", "Mills"}, {"source", source}},
                              {{"type", "text"}, {"text", "What colour is the mill?"}}}}}}},
                         {"tools", {{{"name", "f"}, {"input_schema", parameters}}}},
                         {"stop_sequences", {"!"}}});
    ask("/v1/responses", {{"instructions", "Be short."}, {"input", "What colour is the mill?"}});
    ask("/v1/completions", {{"prompt", {1, 2, 3}}, {"prompt_cache_key", "somebody"}});
  }
  std::vector<json> lines;
  std::istringstream text(TextOfFile(file));
  for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["messages"], question);
  EXPECT_EQ(lines[0]["documents"], json({document}));
  EXPECT_EQ(lines[0]["options"], (json{{"stop", "!"}}));
  EXPECT_EQ(lines[0]["temperature"], 0.5);
  const json system = {{"role", "system"}, {"content", "Be short."}};
  EXPECT_EQ(lines[1]["messages"], (json{system, question[0]}));
  EXPECT_EQ(lines[1]["documents"], json({document}));
  EXPECT_EQ(lines[1]["options"]["tools"][0]["function"],
            (json{{"name", "f"}, {"parameters", parameters}}));
  EXPECT_EQ(lines[1]["options"]["stop"], json({"!"}));
  EXPECT_EQ(lines[2]["messages"], (json{system, question[0]}));
  EXPECT_EQ(lines[3]["session_id"], "somebody");
  EXPECT_EQ(lines[3]["hash_ids"].size(), 1u);
  const Finished summary = RunBinary("workload summary --json " + file);
  ASSERT_EQ(summary.code, 0) << summary.output;
  EXPECT_EQ(json::parse(summary.output)["with_passages"], 2);
}

TEST_F(MeasureTest, FlagOverEnvironmentOverFileOverDefault) {
  std::ofstream(folder_ / "c.toml") << "[serve]\nmax-queue = 7\nmax-running = 3\nport = 0\n";
  const std::string config = " --config " + Path("c.toml");
  const Finished shown = RunBinary("config show --json" + config, "MILLRACE_MAX_QUEUE=9");
  ASSERT_EQ(shown.code, 0) << shown.output;
  const json values = json::parse(shown.output);
  EXPECT_EQ(values["--max-queue"]["value"], "9");
  EXPECT_EQ(values["--max-queue"]["origin"], "environment MILLRACE_MAX_QUEUE");
  EXPECT_EQ(values["--max-running"]["value"], "3");
  EXPECT_EQ(values["--max-running"]["origin"], "file");
  EXPECT_EQ(values["--prefix-cache"]["value"], "on");
  EXPECT_EQ(values["--prefix-cache"]["origin"], "default");
  std::ofstream(folder_ / "wrong.toml") << "[serve]\nmax-quue = 7\n";
  const Finished wrong = RunBinary("serve --config " + Path("wrong.toml"));
  EXPECT_NE(wrong.code, 0);
  EXPECT_THAT(wrong.output, HasSubstr("max-quue"));
  std::ofstream(folder_ / "bad.toml") << "[serve]\nmax-queue = 0\n";
  EXPECT_NE(RunBinary("serve --config " + Path("bad.toml")).code, 0);  // out of range
  ServerProcess server(MILLRACE_BINARY, {"--config", Path("bad.toml"), "--max-queue", "5"});
  EXPECT_NE(server.port(), 0) << testing::PrintToString(server.Log());
}

}  // namespace
}  // namespace millrace
