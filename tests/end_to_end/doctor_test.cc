// What `millrace doctor` says, against what is worked out here.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "what_fits.h"

namespace millrace {
namespace {

std::string OutputOf(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::string output;
  std::array<char, 4096> bytes;
  for (size_t n = 0; (n = std::fread(bytes.data(), 1, bytes.size(), pipe.get())) > 0;) {
    output.append(bytes.data(), n);
  }
  return output;
}

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(DoctorTest, SaysWhatTheMachineOffersAndWhatFits) {
  const auto out = nlohmann::json::parse(OutputOf(MILLRACE_BINARY " doctor --json --context 1000"));
  EXPECT_EQ(out.at("chosen_instruction_set"), out.at("instruction_sets").back());
  EXPECT_NE(out.at("chosen_because").get<std::string>().find("best"), std::string::npos);
  // Each set that is not among the supported ones lacks something.
  for (const char* isa : {"avx2", "avxvnni", "avx512"}) {
    const auto& sets = out.at("instruction_sets");
    if (std::find(sets.begin(), sets.end(), "avx2") == sets.end()) break;  // not on this processor
    if (std::find(sets.begin(), sets.end(), isa) != sets.end()) continue;
    EXPECT_TRUE(out.contains("missing_for_" + std::string(isa))) << isa;
  }
  EXPECT_GE(out.at("memory_node_list").size(), 1u);
  EXPECT_TRUE(out.contains("container_memory_left"));
  EXPECT_TRUE(out.contains("transparent_huge_pages"));
  // The demo model: 4 layers, 8 heads of 32 elements, keys and values.
  ASSERT_EQ(out.at("fits").size(), 3u);
  EXPECT_EQ(out["fits"][0]["kv_type"], "bf16");
  EXPECT_EQ(out["fits"][0]["kv_bytes_per_token"], 4 * 8 * 32 * 2 * 2);
  EXPECT_EQ(out["fits"][1]["kv_bytes_per_token"], 4 * 8 * 32 * 2 * 4);
  EXPECT_EQ(out["fits"][2]["kv_type"], "q8_0");
  EXPECT_EQ(out["fits"][2]["kv_bytes_per_token"], 4 * 8 * (32 + 4) * 2);  // and a scale of 4 bytes
  EXPECT_EQ(out.at("sequences_below_are_of_tokens"), 1000);
  EXPECT_EQ(out.at("models_that_fit").size(), 12u);  // four shapes in three types
  const std::string text = OutputOf(MILLRACE_BINARY " doctor --isa scalar");
  EXPECT_NE(text.find("it was asked for"), std::string::npos);
  EXPECT_NE(text.find("llama-8b"), std::string::npos);
}

TEST(WhatFitsTest, ContextsAndSequences) {
  // 32 tokens are 1 MiB: 32 layers, 8 heads of 32 elements in bf16, keys and values.
  const KvShape shape{.layers = 32, .kv_heads = 8, .head_dim = 32};
  const auto fits = FitKv(shape, 100'000, 1000, kGiB);
  ASSERT_EQ(fits.size(), 3u);
  EXPECT_EQ(fits[0].bytes_per_token, 32 << 10);
  EXPECT_EQ(fits[0].largest_context, 921 * 32);  // nine tenths of 1,024 MiB
  EXPECT_EQ(fits[0].sequences, 921 / 32);        // 1,000 tokens take 32 blocks
  EXPECT_EQ(FitKv(shape, 4096, 1000, kGiB)[0].largest_context, 4096);
  EXPECT_EQ(FitKv(shape, 4096, 1000, 1000)[0].largest_context, 0);
  EXPECT_EQ(FitKv(shape, 4096, 1000, 1000)[0].sequences, 0);
}

TEST(WhatFitsTest, WeightsOfPublishedModels) {
  // Meta-Llama-3.1-8B has 8.03 thousand million parameters; Q8_0 takes 34 bytes for 32.
  const auto shape = FindShape("llama-8b");
  ASSERT_TRUE(shape.ok());
  const auto f16 = WeightBytes(**shape, *ParseTypeMix("F16"));
  EXPECT_NEAR(static_cast<double>(f16), 8.03e9 * 2, 0.01e9 * 2);
  EXPECT_EQ(WeightBytes(**shape, *ParseTypeMix("Q8_0")) * 64, f16 * 34);
  // The published Q4_K_M file of it has 4.92 GB.
  EXPECT_NEAR(static_cast<double>(WeightBytes(**shape, *ParseTypeMix("Q4_K_M"))), 4.92e9, 0.05e9);
}

TEST(WhatFitsTest, AModelThatDoesNotFitHasNoContexts) {
  const auto fits = FitModels(8192, 6 * kGiB);
  ASSERT_EQ(fits.size(), 12u);
  for (const ModelFit& fit : fits) {
    EXPECT_EQ(fit.kv.empty(), fit.weight_bytes >= 6 * kGiB / 10 * 9) << fit.shape << fit.type;
  }
  const auto is_8b = [](const ModelFit& fit) { return fit.shape == "llama-8b"; };
  const auto first = std::find_if(fits.begin(), fits.end(), is_8b);
  EXPECT_FALSE(first[0].kv.empty());  // Q4_K_M
  EXPECT_TRUE(first[1].kv.empty());   // Q8_0: 8.5 GB
}

}  // namespace
}  // namespace millrace
