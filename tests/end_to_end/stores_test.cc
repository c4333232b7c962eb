// The real binary: stores made and filled from files of every kind, killed while it fills one, read
// by two processes while a third writes, searched over HTTP, and measured by `millrace reduce`.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "http/test_client.h"
#include "tests/end_to_end/server_process.h"
#include "tests/tiny_encoder.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class StoresBinary : public testing::Test {
 protected:
  StoresBinary()
      : folder_(fs::temp_directory_path() / ("millrace-stores-e2e-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    store_ = (folder_ / "s.db").string();
  }
  ~StoresBinary() override { fs::remove_all(folder_); }

  pid_t Start(const std::vector<std::string>& words, const std::string& output) {
    const pid_t child = fork();
    if (child != 0) return child;
    const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    std::vector<char*> arguments = {const_cast<char*>(MILLRACE_BINARY)};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(MILLRACE_BINARY, arguments.data());
    _exit(127);
  }
  // What it printed. It must succeed, or fail with the status of a refused input or of a failure.
  enum class Ends { kWell, kRefuses };
  std::string Run(const std::vector<std::string>& words, Ends wanted = Ends::kWell) {
    const std::string output = (folder_ / "output").string();
    const pid_t child = Start(words, output);
    int status = 0;
    waitpid(child, &status, 0);
    std::ifstream file(output);
    std::stringstream text;
    text << file.rdbuf();
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    EXPECT_TRUE(wanted == Ends::kWell ? code == 0 : code == 1 || code == 2)
        << words[0] << " " << words[1] << ": " << text.str();
    return text.str();
  }
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string WriteEncoder(const std::string& name, uint64_t seed) {
    TinyEncoderSpec spec;
    spec.seed = seed;
    const auto bytes = MakeTinyEncoder(spec);
    return Write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::vector<std::string> FoundIds(const std::string& question,
                                    const std::vector<std::string>& flags = {"--json"}) {
    std::vector<std::string> ids, words = {"index", "search", store_, question};
    words.insert(words.end(), flags.begin(), flags.end());
    const std::string output = Run(words);
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) ids.push_back(json::parse(line)["id"]);
    return ids;
  }
  // A PDF of one page with one line of text.
  static std::string Pdf(const std::string& text) {
    const std::string content = "BT /F1 12 Tf 20 100 Td (" + text + ") Tj ET";
    const std::vector<std::string> objects = {
        "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 200]/Contents 5 0 R"
        "/Resources<</Font<</F1 4 0 R>>>>>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        "<</Length " + std::to_string(content.size()) + ">>stream\n" + content + "\nendstream"};
    std::string pdf = "%PDF-1.4\n", table = "0000000000 65535 f \n";
    for (size_t i = 0; i < objects.size(); ++i) {
      char entry[32];
      std::snprintf(entry, sizeof(entry), "%010zu 00000 n \n", pdf.size());
      table += entry;
      pdf += std::to_string(i + 1) + " 0 obj" + objects[i] + "endobj\n";
    }
    const size_t at = pdf.size();
    return pdf + "xref\n0 6\n" + table + "trailer<</Size 6/Root 1 0 R>>\nstartxref\n" +
           std::to_string(at) + "\n%%EOF\n";
  }

  fs::path folder_;
  std::string store_;
};

TEST_F(StoresBinary, FilesOfEveryKindAreFound) {
  Run({"index", "create", store_});
  Run({"index", "create", store_}, Ends::kRefuses);
  const std::string text = Write("a.txt", "Kelmora is a port. Its mayor is Anna Brick.");
  const std::string markdown = Write("b.md", "# Trask\n\nThe *harbour* of this town is small.");
  const std::string html = Write("c.html",
                                 "<title>Rell</title><p>Rell has a "
                                 "lighthouse.<script>steal()</script>");
  const std::string lines = Write("d.jsonl",
                                  "{\"id\":\"omm\",\"text\":\"Omm grows barley.\"}\n"
                                  "{\"id\":\"东京\",\"text\":\"东京的市长是谁\"}\n");
  const std::string pdf = Write("e.pdf", Pdf("The quarry of Sudun gives marble."));
  Run({"index", "add", store_, text, markdown, html, lines, pdf});
  EXPECT_THAT(FoundIds("Kelmora mayor"), testing::ElementsAre(text));
  EXPECT_THAT(FoundIds("Trask"), testing::ElementsAre(markdown));
  EXPECT_THAT(FoundIds("lighthouse"), testing::ElementsAre(html));
  EXPECT_THAT(FoundIds("steal"), testing::ElementsAre());
  EXPECT_THAT(FoundIds("barley"), testing::ElementsAre("omm"));
  EXPECT_THAT(FoundIds("市长"), testing::ElementsAre("东京"));
  EXPECT_THAT(FoundIds("marble quarry"), testing::ElementsAre(pdf));
  Run({"index", "delete", store_, "omm"});
  EXPECT_THAT(FoundIds("barley"), testing::ElementsAre());
  EXPECT_THAT(Run({"index", "delete", store_, "omm"}, Ends::kRefuses),
              HasSubstr("no document 'omm'"));
  Run({"index", "verify", store_});
}

TEST_F(StoresBinary, HostilePdfsAndFilesAreClearErrors) {
  Run({"index", "create", store_});
  const std::string whole = Pdf("x");
  const std::pair<std::string, std::string> hostile[] = {
      {Write("empty.pdf", ""), "damaged"},
      {Write("text.pdf", "no PDF at all"), "damaged"},
      {Write("noise.pdf", "%PDF-1.7\n" + std::string(100'000, '\xff')), "damaged"},
      {Write("blank.pdf", Pdf(" ")), "no text"},
      {(folder_ / "none.pdf").string(), "cannot be read"},
      {folder_.string() + "/.pdf", "cannot be read"},
      {Write("bad.jsonl", "{\"id\":\"a\",\"text\":\"b\"}\n{\"text\":1}\n"), "line 2"}};
  for (const auto& [path, wanted] : hostile) {
    EXPECT_THAT(Run({"index", "add", store_, path}, Ends::kRefuses), HasSubstr(wanted)) << path;
  }
  // Cut anywhere, it is read or refused.
  for (size_t bytes = 10; bytes < whole.size(); bytes += 61) {
    const std::string cut = Write("cut.pdf", whole.substr(0, bytes));
    const std::string output = (folder_ / "cut").string();
    int status = 0;
    waitpid(Start({"index", "add", store_, cut}, output), &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 2) << bytes;
  }
  Run({"index", "verify", store_});
  EXPECT_THAT(Run({"index", "add", Write("x.db", "nothing"), whole}, Ends::kRefuses),
              HasSubstr("no store"));
}

std::string ManyDocuments(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += "{\"id\":\"" + std::to_string(i) + "\",\"text\":\"Town " + std::to_string(i) +
             " lies by the sea and has a mayor.\"}\n";
  }
  return lines;
}

TEST_F(StoresBinary, KilledWhileItFillsLeavesAWholeStore) {
  const std::string lines = Write("many.jsonl", ManyDocuments(60'000));
  int killed = 0;
  for (int round = 0; round < 5; ++round) {
    for (const char* end : {"", "-wal", "-shm"}) fs::remove(store_ + end);
    Run({"index", "create", store_});
    const pid_t child = Start({"index", "add", store_, lines}, (folder_ / "killed").string());
    // From when it begins to write, to about its end.
    while (fs::exists(store_ + "-wal") == false || fs::file_size(store_ + "-wal") == 0) {
      int status = 0;
      if (waitpid(child, &status, WNOHANG) == child) break;
      usleep(500);
    }
    usleep(static_cast<useconds_t>(round) * 150'000);
    killed += kill(child, SIGKILL) == 0 ? 1 : 0;
    waitpid(child, nullptr, 0);
    Run({"index", "verify", store_});
    std::istringstream listed(Run({"index", "list", store_, "--json"}));
    int documents = 0;
    for (std::string line; std::getline(listed, line);) ++documents;
    EXPECT_EQ(documents % 20'000, 0);  // whole batches
    Run({"index", "add", store_, Write("one.jsonl", ManyDocuments(1))});
  }
  EXPECT_GT(killed, 0);
}

TEST_F(StoresBinary, VectorsFindWhatNoWordDoes) {
  const std::string model = WriteEncoder("own.gguf", 1), other = WriteEncoder("other.gguf", 2);
  const std::string lines = Write("d.jsonl",
                                  "{\"id\":\"same\",\"text\":\"a mill by the water\"}\n"
                                  "{\"id\":\"far\",\"text\":\"x, y, z. q\"}\n");
  Run({"index", "create", store_, "--embedding-model", model});
  EXPECT_THAT(Run({"index", "add", store_, lines}, Ends::kRefuses), HasSubstr("'own'"));
  EXPECT_THAT(Run({"index", "add", store_, lines, "--embedding-model", other}, Ends::kRefuses),
              HasSubstr("holds vectors of the embedding model 'own'"));
  Run({"index", "add", store_, lines, "--embedding-model", model});
  // Not one word in common, but letter by letter nearly the same text to the model.
  const std::vector<std::string> with_model = {"--json", "--embedding-model", model};
  EXPECT_THAT(FoundIds("am ill byt hewa ter", with_model), testing::ElementsAre("same", "far"));
  ServerProcess refused(MILLRACE_BINARY, {"--store", "s=" + store_, "--embedding-model", other},
                        ServerProcess::Until::kStarted);
  EXPECT_NE(refused.WaitForExit(), 0);
  EXPECT_THAT(testing::PrintToString(refused.Log()),
              HasSubstr("holds vectors of the embedding model 'own'"));
  Run({"index", "delete", store_, "same"});
  EXPECT_THAT(FoundIds("am ill byt hewa ter", with_model), testing::ElementsAre("far"));
  Run({"index", "verify", store_});
  store_ = (folder_ / "words.db").string();
  Run({"index", "create", store_});
  EXPECT_THAT(Run({"index", "add", store_, lines, "--embedding-model", model}, Ends::kRefuses),
              HasSubstr("holds no vectors"));
}

TEST_F(StoresBinary, KilledWhileItFillsVectorsStayInStep) {
  const std::string model = WriteEncoder("own.gguf", 1);
  std::vector<std::string> add = {"index", "add", store_, "--embedding-model", model};
  for (int file = 0; file < 300; ++file) {  // each is a transaction of 20 documents
    std::string lines;
    for (int i = 0; i < 20; ++i) {
      lines += "{\"id\":\"" + std::to_string(20 * file + i) + "\",\"text\":\"a mill race\"}\n";
    }
    add.push_back(Write(std::to_string(file) + ".jsonl", lines));
  }
  int cut = 0;
  for (int round = 0; round < 4; ++round) {
    for (const char* end : {"", "-wal", "-shm"}) fs::remove(store_ + end);
    Run({"index", "create", store_, "--embedding-model", model});
    const pid_t child = Start(add, (folder_ / "killed").string());
    while (!fs::exists(store_ + "-wal") || fs::file_size(store_ + "-wal") == 0) usleep(500);
    usleep(static_cast<useconds_t>(round) * 60'000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    Run({"index", "verify", store_});
    std::istringstream listed(Run({"index", "list", store_, "--json"}));
    int documents = 0;
    for (std::string line; std::getline(listed, line);) ++documents;
    EXPECT_EQ(documents % 20, 0);
    cut += documents < 6000 ? 1 : 0;
    const std::vector<std::string> flags = {"--json", "--embedding-model", model};
    Run({"index", "add", store_, add.back(), "--embedding-model", model});
    EXPECT_EQ(FoundIds("zebra", flags).size(), 10u);
  }
  EXPECT_GT(cut, 0);
}

TEST_F(StoresBinary, OthersReadWhileOneWrites) {
  Run({"index", "create", store_});
  Run({"index", "add", store_, Write("first.jsonl", ManyDocuments(100))});
  const std::string lines = Write("many.jsonl", ManyDocuments(40'000));
  const pid_t writer = Start({"index", "add", store_, lines}, (folder_ / "writer").string());
  int rounds = 0, status = 0;
  do {
    const std::string one = (folder_ / "r1").string(), two = (folder_ / "r2").string();
    const pid_t readers[] = {Start({"index", "search", store_, "Town 7 mayor", "--json"}, one),
                             Start({"index", "list", store_}, two)};
    for (const pid_t reader : readers) {
      waitpid(reader, &status, 0);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    std::ifstream found(one);
    std::string line;
    ASSERT_TRUE(std::getline(found, line));
    EXPECT_EQ(json::parse(line)["id"], "7");
    ++rounds;
  } while (waitpid(writer, &status, WNOHANG) == 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GT(rounds, 0);
  Run({"index", "verify", store_});
}

TEST_F(StoresBinary, AServerMakesFillsAndAsksStores) {
  Run({"index", "create", store_});
  Run({"index", "add", store_, Write("first.jsonl", ManyDocuments(100))});
  ServerProcess server(MILLRACE_BINARY, {"--store", "towns=" + store_, "--store-dir",
                                         folder_.string(), "--threads", "1"});
  ASSERT_NE(server.port(), 0);
  const auto post = [&](const std::string& path, const json& body) {
    const ClientResponse response = TestClient(server.port()).Post(path, body.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body, nullptr, false);
  };
  post("/v1/vector_stores", {{"name", "own"}});
  post("/v1/vector_stores/own/files", {{"file_id", "k"}, {"text", "Kelmora's mayor is Anna."}});
  EXPECT_EQ(post("/v1/vector_stores/own/search", {{"query", "mayor"}})["data"][0]["file_id"], "k");
  json chat = {{"messages", json::array({{{"role", "user"}, {"content", "mayor of Town 7?"}}})},
               {"max_tokens", 8},
               {"millrace", {{"store", "towns"}, {"reduce", "top:3"}}}};
  const json told = post("/v1/chat/completions", chat)["usage"]["millrace"]["reduction"];
  EXPECT_EQ(told["kept"].size(), 3u);
  bool best = false;
  for (const json& kept : told["kept"]) best = best || (kept["id"] == "7" && kept["why"] == "best");
  EXPECT_TRUE(best) << told;
  chat["millrace"]["store"] = "own";
  EXPECT_EQ(post("/v1/chat/completions", chat)["usage"]["millrace"]["reduction"]["kept"].size(),
            1u);
  // What the server made, the command line reads.
  store_ = (folder_ / "own.db").string();
  EXPECT_THAT(FoundIds("mayor"), testing::ElementsAre("k"));
}

TEST_F(StoresBinary, ReduceMeasuresEverySetting) {
  Run({"index", "create", store_});
  Run({"index", "add", store_, Write("first.jsonl", ManyDocuments(100))});
  std::string questions;
  for (int i = 0; i < 40; ++i) {
    questions += json{{"question", "Which mayor has Town " + std::to_string(i) + "?"},
                      {"answers", json::array({"Town " + std::to_string(i) + " "})},
                      {"relevant", json::array({std::to_string(i)})}}
                     .dump() +
                 "\n";
  }
  const std::string file = Write("q.jsonl", questions), out = (folder_ / "out").string();
  const json report = json::parse(
      Run({"reduce", file, "--store", store_, "--most", "3", "--ask", "3", "--answer",
           "--max-tokens", "4", "--json", "--out", out, "--serve-flags", "--threads 1"}));
  ASSERT_EQ(report["rows"].size(), 4u);
  EXPECT_EQ(report["rows"][0]["setting"], "top:1");
  EXPECT_EQ(report["rows"][0]["answer_coverage"]["mean"], 1.0);
  EXPECT_EQ(report["rows"][0]["recall"]["mean"], 1.0);
  EXPECT_EQ(report["rows"][2]["ndcg_at_10"]["mean"], 1.0);
  EXPECT_EQ(report["rows"][2]["passages_kept"], 3.0);
  EXPECT_EQ(report["rows"][3]["asked"], 3);
  EXPECT_GT(report["rows"][0]["first_token_cold_ms"]["mean"].get<double>(), 0.0);
  EXPECT_LT(report["rows"][0]["prompt_tokens"].get<double>(),
            report["rows"][2]["prompt_tokens"].get<double>());
  EXPECT_EQ(report["recommendation"]["setting"], nullptr);  // three answers decide nothing
  std::ifstream html(out + "/reduction.html");
  std::stringstream page;
  page << html.rdbuf();
  EXPECT_THAT(page.str(), HasSubstr("<svg"));
  EXPECT_TRUE(fs::exists(out + "/reduction.json"));
  EXPECT_THAT(Run({"reduce", file, "--ask", "0"}, Ends::kRefuses), HasSubstr("--store"));
  EXPECT_THAT(Run({"reduce", Write("bad.jsonl", "{}"), "--store", store_}, Ends::kRefuses),
              HasSubstr("line 1"));
  const json decided = json::parse(Run({"reduce", file, "--store", store_, "--most", "3", "--ask",
                                        "0", "--margin", "40", "--json"}));
  EXPECT_EQ(decided["recommendation"]["setting"], "top:1");
}

}  // namespace
}  // namespace millrace
