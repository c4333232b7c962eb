#include "lab/retrieval_quality.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(RetrievalQuality, ByHand) {
  Workload workload;
  workload.requests.resize(6);
  for (WorkloadRequest& r : workload.requests) {
    r.messages = "[]";
    r.documents = {"The price is 7.", "Nothing here.", "So the price is 7. Yes."};
    r.expected = R"({"contains": "price is 7."})";
  }
  workload.requests[3].expected = R"({"contains": "elsewhere"})";  // in no passage
  workload.requests[4].expected.clear();
  workload.requests[5].documents.clear();
  const std::vector<size_t> items = {0, 1, 2, 3, 4, 5, 0};
  std::vector<ReplayAnswer> answers(items.size());
  answers[0].kept_passages = {{2, 2, 1}};  // in two pieces
  answers[1].kept_passages = {{1}};
  for (size_t i : {size_t{3}, size_t{4}, size_t{5}}) answers[i].kept_passages.emplace();
  answers[6].failure = "HTTP 500";
  // Answer 2 was not reduced: all three were kept.
  const RetrievalQuality q = MeasureRetrieval(workload, items, answers);
  EXPECT_EQ(q.requests, 3);
  EXPECT_NEAR(q.coverage, 2.0 / 3, 1e-12);
  EXPECT_NEAR(q.recall, (0.5 + 0 + 1) / 3, 1e-12);
  EXPECT_NEAR(q.kept, (2 + 1 + 3) / 3.0, 1e-12);
  EXPECT_EQ(MeasureRetrieval(workload, {}, {}).requests, 0);
}

}  // namespace
}  // namespace millrace
