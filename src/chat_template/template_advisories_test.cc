// Published advisories about chat templates, which come with a model's file and are programs.
// docs/SECURITY.md lists them.
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "chat_template/chat_template.h"

namespace millrace {
namespace {

jinja::Dict ChatOfOne() {
  jinja::Dict message;
  message.Set("role", jinja::Value::String("user"));
  message.Set("content", jinja::Value::String("{{ 7 * 7 }} {% for x in range(9) %}"));
  jinja::Dict context;
  context.Set("messages", jinja::Value::List({jinja::Value::Map(message)}));
  return context;
}

Result<std::string> Rendered(const std::string& source) {
  auto parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.error();
  return parsed->Render(ChatOfOne());
}

// CVE-2025-61620 (vLLM): a template that goes on for hours, or builds a text without end. Within
// the default budgets each ends in seconds, and says which budget it was.
TEST(TemplateAdvisories, Cve202561620LoopsEndInABudget) {
  for (const char* source :
       {"{% for i in range(99999999) %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = a * b %}{% endfor %}"
        "{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = ns.l + ns.l %}"
        "{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(s='aa') %}{% for i in range(64) %}"
        "{% set ns.s = ns.s | replace('a', ns.s) %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        "{{ f(60) }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for i in range(999999) %}{% set ns.l = ns.l + [ns.l] %}"
        "{% endfor %}",
        "{{ ('x' * 8000) * 8000 }}", "{{ range(999999999) | list | length }}",
        "{{ ([1] * 8000) * 8000 }}", "{{ 'x' | center(999999999) }}",
        "{{ ('a,' * 4000000).split(',') | join('xxxxxxxxxxxx') }}", "{{ 10 ** 10 ** 10 ** 10 }}"}) {
    const std::clock_t begin = std::clock();
    const auto rendered = Rendered(source);
    ASSERT_FALSE(rendered.ok()) << source;
    EXPECT_FALSE(rendered.error().message.empty()) << source;
    EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC) << source;  // under sanitizers, too
  }
}

// CVE-2024-34359 (llama-cpp-python): a template that reached the machine through its objects'
// attributes. Here values have none.
TEST(TemplateAdvisories, Cve202434359NothingOfTheMachineIsReached) {
  for (const char* source :
       {"{{ ().__class__.__base__.__subclasses__() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ namespace.__init__.__globals__ }}", "{{ messages.__class__.__init__.__globals__ }}",
        "{{ raise_exception.__globals__ }}", "{{ self.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}", "{{ ('%s' | format).__globals__ }}",
        "{{ 'a'.format.__self__.__class__.__base__ }}", "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os.system('id') }}", "{% extends '/etc/passwd' %}",
        "{% from 'os' import system %}"}) {
    const auto rendered = Rendered(source);
    if (!rendered.ok()) continue;
    // An undefined value prints as nothing.
    EXPECT_EQ(*rendered, "") << source;
  }
  // str.format reaches attributes in Python: "{0.__class__}".
  for (const char* source : {"{{ '{0.__class__}'.format('a') }}", "{{ '{.__init__}'.format(1) }}",
                             "{{ '{0[__class__]}'.format('a') }}"}) {
    const auto rendered = Rendered(source);
    EXPECT_TRUE(!rendered.ok() || rendered->find("class") == std::string::npos) << source;
  }
}

// A message's own text is never read as a template.
TEST(TemplateAdvisories, MessagesAreTextAndNoTemplates) {
  EXPECT_EQ(Rendered("{{ messages[0].content }}").value(), "{{ 7 * 7 }} {% for x in range(9) %}");
  EXPECT_EQ(Rendered("{{ messages[0].content | trim ~ '' }}").value(),
            "{{ 7 * 7 }} {% for x in range(9) %}");
}

}  // namespace
}  // namespace millrace
