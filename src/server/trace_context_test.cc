#include "server/trace_context.h"

#include "server/server_test_util.h"

namespace millrace {
namespace {

using server_internal::ParseTraceParent;

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContextTest, WellFormedOnesOnly) {
  const auto parsed = ParseTraceParent(kParent);  // the specification's example
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parsed->parent_id, "00f067aa0ba902b7");
  EXPECT_TRUE(ParseTraceParent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
  for (const char* wrong : {"", "00", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
                            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x"}) {
    EXPECT_FALSE(ParseTraceParent(wrong)) << wrong;
  }
}

TEST_F(ServerTest, TheLogNamesTheCallersTrace) {
  StartServer();
  Post(kChatPath, Chat(), std::string("traceparent: ") + kParent + "\r\n");
  Post(kChatPath, Chat(), "traceparent: nonsense\r\n");
  ASSERT_TRUE(Eventually([&] { return Records().size() == 2; }));
  EXPECT_EQ(Records()[0].trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(Records()[0].parent_span_id, "00f067aa0ba902b7");
  EXPECT_EQ(Records()[1].trace_id, "");
}

}  // namespace
}  // namespace millrace
