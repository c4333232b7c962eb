#include "paged_kv/kv_plan.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

TEST(KvBudget, ReadsAmountsAndShares) {
  EXPECT_EQ(ParseKvBudget("2GiB").value().bytes, 2 * kGiB);
  EXPECT_EQ(ParseKvBudget("1.5g").value().bytes, kGiB + kGiB / 2);
  EXPECT_EQ(ParseKvBudget("512 MiB").value().bytes, 512 * kMiB);
  EXPECT_EQ(ParseKvBudget("8k").value().bytes, 8192);
  EXPECT_EQ(ParseKvBudget("8kb").value().bytes, 8192);
  EXPECT_EQ(ParseKvBudget("1000").value().bytes, 1000);
  EXPECT_EQ(ParseKvBudget("50%").value().share, 0.5);
  EXPECT_EQ(ParseKvBudget("100 %").value().share, 1.0);
  EXPECT_FALSE(ParseKvBudget("50%").value().bytes.has_value());
  for (const char* bad : {"", "GiB", "0", "-1GiB", "0%", "101%", "1XiB", "2GiB%", "1e", "nan",
                          "inf", "0.1", "% ", "1kk"}) {
    EXPECT_FALSE(ParseKvBudget(bad).ok()) << bad;
  }
  EXPECT_EQ(
      ParseKvBudget("lots").error().message,
      "'lots' is no amount of KV memory: give bytes such as 2GiB or 512MiB, or a share of the "
      "free memory such as 50%");
}

constexpr KvDemand kDemand = {.block_bytes = kMiB,
                              .context_length = 1024,
                              .context_is_required = false,
                              .max_running = 4,
                              .free_bytes = kGiB};

KvPlan Plan(const char* budget, const KvDemand& demand = kDemand) {
  return PlanKv(ParseKvBudget(budget).value(), demand).value();
}
std::string Refusal(const char* budget, const KvDemand& demand = kDemand) {
  return PlanKv(ParseKvBudget(budget).value(), demand).error().message;
}

TEST(KvPlan, WithoutABudgetTakesWhatIsOfUseUpToAQuarterOfWhatIsFree) {
  EXPECT_EQ(PlanKv({}, kDemand).value().blocks, 4 * 32);
  KvDemand demand = kDemand;
  demand.max_running = 16;
  EXPECT_EQ(PlanKv({}, demand).value().blocks, 256);
  EXPECT_EQ(PlanKv({}, demand).value().context_length, 1024);
}

TEST(KvPlan, ABudgetIsKept) {
  EXPECT_EQ(Plan("100MiB").blocks, 100);
  EXPECT_EQ(Plan("100.9MiB").bytes, 100 * kMiB);
  EXPECT_EQ(Plan("50%").blocks, 512);
  EXPECT_EQ(Plan("1GiB").blocks, 1024);
}

TEST(KvPlan, TheContextIsShortenedUnlessItIsRequired) {
  EXPECT_EQ(Plan("10MiB").context_length, 320);
  KvDemand demand = kDemand;
  demand.context_is_required = true;
  EXPECT_EQ(Plan("32MiB", demand).context_length, 1024);
  EXPECT_EQ(Refusal("10MiB", demand),
            "a context of 1024 tokens needs 32.0 MiB of KV cache, but 10.0 MiB are allowed: raise "
            "--kv-memory or lower --context");
}

TEST(KvPlan, RefusesWhatCannotFit) {
  EXPECT_EQ(Refusal("2GiB"),
            "the KV cache is to have 2048.0 MiB, but only 1024.0 MiB of memory are free: lower "
            "--kv-memory, give it a share such as 50%, or free memory");
  EXPECT_EQ(Refusal("1k"),
            "the KV cache needs at least 1048576 bytes for one block of 32 tokens, but 1024 are "
            "allowed: raise --kv-memory");
}

}  // namespace
}  // namespace millrace
