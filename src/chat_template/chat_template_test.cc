// Budgets and hostile templates: whatever the source, there is a text or an Error.
#include "chat_template/chat_template.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Result<std::string> RenderSource(const std::string& source, const RenderLimits& limits = {}) {
  const auto parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.error();
  return parsed->Render(jinja::Dict(), CivilTime{.year = 2026, .month = 11, .day = 23}, limits);
}

std::string Repeated(const std::string& piece, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += piece;
  return out;
}

TEST(ChatTemplate, RaisedMessageIsVerbatim) {
  const auto rendered = RenderSource("{{ raise_exception('Roles must alternate!') }}");
  ASSERT_FALSE(rendered.ok());
  EXPECT_EQ(rendered.error().message, "Roles must alternate!");
  EXPECT_EQ(rendered.error().kind, ErrorKind::kInvalidArgument);
}

TEST(ChatTemplate, SyntaxErrorNamesItsLine) {
  const auto parsed = ChatTemplate::Parse("a\nb\n{{ 1 + }}");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("line 3"), std::string::npos) << parsed.error().message;
}

TEST(ChatTemplate, SourceHasALimit) {
  const std::string longest(kMaxTemplateBytes, 'x');
  EXPECT_EQ(RenderSource(longest).value(), longest);
  const auto parsed = ChatTemplate::Parse(longest + "x");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().kind, ErrorKind::kTooLarge);
  EXPECT_NE(parsed.error().message.find("1048577 bytes"), std::string::npos);
}

TEST(ChatTemplate, FormatsTheTimeThatIsPassedIn) {
  EXPECT_EQ(RenderSource("{{ strftime_now('%d %b %Y, %A %j') }}").value(),
            "23 Nov 2026, Monday 327");
}

TEST(ChatTemplateBudget, EveryRunawayEndsInTooLarge) {
  for (const char* source : {
           "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{{ 'x' * 9000000000000 }}",
           "{{ [0] * 9000000000000 }}",
           "{{ 'x' * 9000000 }}",
           "{{ 'a\\nb'|indent(9000000000) }}",
           "{{ 'a'.center(9000000000000) }}",
           "{{ '%9000000000d' % 1 }}",
           "{{ '{:9000000000}'.format(1) }}",
           "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s ~ "
           "ns.s %}{% endfor %}",
       }) {
    const auto rendered = RenderSource(source);
    ASSERT_FALSE(rendered.ok()) << source;
    EXPECT_EQ(rendered.error().kind, ErrorKind::kTooLarge)
        << source << ": " << rendered.error().message;
  }
}

TEST(ChatTemplateBudget, DeepSourceIsRefusedNotFollowed) {
  for (const std::string& source :
       {"{{ " + Repeated("(", 100000) + " }}", "{{ " + Repeated("[", 100000),
        "{{ " + Repeated("not ", 100000) + "1 }}", "{{ " + Repeated("-", 100000) + "1 }}",
        "{{ 1" + Repeated("+1", 100000) + " }}", "{{ a" + Repeated(".b", 100000) + " }}",
        "{{ a" + Repeated("|e", 100000) + " }}", Repeated("{% if 1 %}", 100000),
        "{{ 1" + Repeated(" if 1 else 1", 100000) + " }}"}) {
    EXPECT_FALSE(ChatTemplate::Parse(source).ok()) << source.substr(0, 40);
  }
}

TEST(ChatTemplateBudget, DeepValuesAndCirclesEnd) {
  EXPECT_FALSE(
      RenderSource("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
                   "{% endfor %}{{ ns.x }}")
          .ok());
  EXPECT_TRUE(
      RenderSource("{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.l = [ns] %}x").ok());
  EXPECT_FALSE(RenderSource("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}").ok());
  EXPECT_TRUE(
      RenderSource(
          "{% for i in range(3) %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}")
          .ok());
}

TEST(ChatTemplateBudget, TheClockStopsIt) {
  RenderLimits limits;
  int64_t ticks = 0;
  limits.clock = Clock([&ticks] { return TimePoint(std::chrono::seconds(++ticks)); });
  const auto rendered = RenderSource("{% for a in range(9999) %}{{ a }}{% endfor %}", limits);
  ASSERT_FALSE(rendered.ok());
  EXPECT_EQ(rendered.error().kind, ErrorKind::kTooLarge);
}

}  // namespace
}  // namespace millrace
