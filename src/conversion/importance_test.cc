#include "conversion/importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/rng.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class Importance : public ::testing::Test {
 protected:
  Importance()
      : folder_(fs::temp_directory_path() / ("millrace-imatrix-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    matrix_.datasets = {"calibration.txt"};
    matrix_.tensors["blk.0.attn_q.weight"] = {{1.5f, 0.0f, 3.25f, 8.0f}, 1024};
    matrix_.tensors["output.weight"] = {{0.5f, 2.0f}, 700};
  }
  ~Importance() override { fs::remove_all(folder_); }
  std::string Path(const char* name) const { return (folder_ / name).string(); }
  static std::vector<std::byte> Bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto* p = reinterpret_cast<const std::byte*>(text.data());
    return {p, p + text.size()};
  }
  fs::path folder_;
  ImportanceMatrix matrix_;
};

TEST_F(Importance, BothFormsThereAndBack) {
  for (const auto form : {ImportanceForm::kGguf, ImportanceForm::kDat}) {
    const std::string path = Path("matrix");
    ASSERT_TRUE(WriteImportance(matrix_, form, path).ok());
    const auto back = ReadImportance(path);
    ASSERT_TRUE(back.ok()) << back.error().message;
    ASSERT_EQ(back->tensors.size(), 2u);
    EXPECT_EQ(back->datasets, matrix_.datasets);
    for (const auto& [name, entry] : matrix_.tensors) {
      const auto got = back->Find(name);
      ASSERT_EQ(got.size(), entry.mean_squares.size());
      for (size_t i = 0; i < got.size(); ++i) EXPECT_FLOAT_EQ(got[i], entry.mean_squares[i]);
    }
  }
}

// The layout that llama.cpp's imatrix tool writes, byte by byte.
TEST_F(Importance, DatLayout) {
  std::string text;
  const auto put_int = [&](int32_t v) { text.append(reinterpret_cast<const char*>(&v), 4); };
  put_int(1);
  put_int(1);
  text += "w";
  put_int(3);  // calls
  put_int(2);  // values
  for (const float v : {6.0f, 1.5f}) text.append(reinterpret_cast<const char*>(&v), 4);
  put_int(9);  // chunks
  put_int(4);
  text += "data";
  const auto parsed = ParseImportance(std::as_bytes(std::span(text)), "m.dat");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_THAT(parsed->tensors.at("w").mean_squares, ::testing::ElementsAre(2.0f, 0.5f));
  EXPECT_THAT(parsed->datasets, ::testing::ElementsAre("data"));
}

TEST_F(Importance, DamagedFilesGiveASentence) {
  for (const auto form : {ImportanceForm::kGguf, ImportanceForm::kDat}) {
    ASSERT_TRUE(WriteImportance(matrix_, form, Path("matrix")).ok());
    const auto good = Bytes(Path("matrix"));
    CounterRng rng(1, 0);
    for (int i = 0; i < 2000; ++i) {
      auto bytes = good;
      bytes[rng.NextU64() % bytes.size()] = std::byte(rng.NextU64());
      if (i % 3 == 0) bytes.resize(rng.NextU64() % bytes.size());
      const auto parsed = ParseImportance(bytes, "m");
      if (!parsed.ok()) continue;
      for (const auto& [name, entry] : parsed->tensors) {
        for (const float v : entry.mean_squares) ASSERT_TRUE(std::isfinite(v) && v >= 0);
      }
    }
  }
  matrix_.tensors["output.weight"].mean_squares[0] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(WriteImportance(matrix_, ImportanceForm::kDat, Path("nan")).ok());
  EXPECT_THAT(ReadImportance(Path("nan")).error().message, HasSubstr("not finite"));
  EXPECT_THAT(ReadImportance(Path("absent")).error().message, HasSubstr("cannot open"));
}

TEST_F(Importance, CollectorSeesEveryProductOnce) {
  ThreadPool pool(2);
  const auto bytes = MakeTinyModel({});
  const GgufFile file = ParseGguf(bytes, "tiny").value();
  auto model = Transformer::Load(file, {}, pool).value();
  KvStore kv = KvStore::Create(model->info().kv_shape, KvType::kF32, 2).value();
  ImportanceCollector collector(true, pool);
  double by_hand = 0;
  model->SetObserver([&](ProductInput input, int32_t layer, MatrixView<const float> x) {
    collector.Observe(input, layer, x);
    if (input != ProductInput::kDown || layer != 1) return;
    for (int64_t r = 0; r < x.rows; ++r) by_hand += double{x.row(r)[5]} * x.row(r)[5] / 20;
  });
  std::vector<TokenId> tokens(20, TokenId(65));
  const BlockId blocks[] = {BlockId(0)};
  model->Forward({{{tokens, 0, blocks, 20}}}, kv);
  const ImportanceMatrix m = collector.Finish("text");
  EXPECT_EQ(m.tensors.size(), 2 * 7 + 1u);  // seven matrices a layer, and the output
  EXPECT_NEAR(m.Find("blk.1.ffn_down.weight")[5], by_hand, 1e-6 * by_hand);
  EXPECT_EQ(m.tensors.at("token_embd.weight").rows, 20);
  for (const GgufTensor& t : file.tensors()) {
    const auto found = m.Find(t.name);
    if (found.empty()) continue;
    EXPECT_EQ(static_cast<int64_t>(found.size()), t.row_length()) << t.name;
  }
}

}  // namespace
}  // namespace millrace
