#include "engine/cache_space.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace millrace {
namespace {

using namespace std::string_literals;

TEST(CacheSpace, DifferentAdaptersAndNamespacesNeverMeet) {
  const std::string spaces[] = {"",
                                "key",
                                "\0salt"s,
                                "key\0salt"s,
                                "\x01",
                                "\x02",
                                "\x01"
                                "3:abc",
                                "\x01"
                                "1:ab",
                                "\x02key",
                                "3:abc"};
  const std::string identities[] = {"a", "abc", "ab", "", "3:abc", "\x01", "key"};
  std::set<std::string> seen;
  for (const std::string& space : spaces) {
    const std::string base = SpaceOfBlocks(nullptr, space);
    EXPECT_TRUE(seen.insert(base).second);
    EXPECT_EQ(RequestSpaceOf(base), space);
    for (const std::string& identity : identities) {
      const AdapterInfo adapter{.name = "any", .identity = identity};
      const std::string adapted = SpaceOfBlocks(&adapter, space);
      EXPECT_TRUE(seen.insert(adapted).second) << identity;
      EXPECT_EQ(RequestSpaceOf(adapted), space);
    }
  }
}

// Blocks that older servers left on disk stay where they are found.
TEST(CacheSpace, TheBaseModelsNamespacesStayAsTheyWere) {
  EXPECT_EQ(SpaceOfBlocks(nullptr, ""), "");
  EXPECT_EQ(SpaceOfBlocks(nullptr, "\0salt"s), "\0salt"s);
  EXPECT_EQ(SpaceOfBlocks(nullptr, "5f3a\0salt"s), "5f3a\0salt"s);
}

TEST(CacheSpace, OneFileUnderTwoNamesSharesBlocks) {
  const AdapterInfo one{.name = "one", .identity = "same"}, two{.name = "two", .identity = "same"};
  EXPECT_EQ(SpaceOfBlocks(&one, "key"), SpaceOfBlocks(&two, "key"));
}

}  // namespace
}  // namespace millrace
