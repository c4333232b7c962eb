// Python's str methods that ask something of every character: isdigit and its kin.
#include "chat_template/arguments.h"
#include "chat_template/interpreter.h"
#include "chat_template/methods.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

template <bool (*kHolds)(char32_t)>
bool All(std::string_view text) {
  if (text.empty()) return false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (!kHolds(c.value)) return false;
    i += c.bytes;
  }
  return true;
}

bool IsAlphanumeric(char32_t c) { return IsAlpha(c) || IsNumeric(c); }

bool IsTitleText(std::string_view text) {
  bool cased = false;
  bool previous_cased = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (IsUpper(c.value)) {
      if (previous_cased) return false;
      previous_cased = cased = true;
    } else if (IsLower(c.value)) {
      if (!previous_cased) return false;
      cased = true;
    } else {
      previous_cased = false;
    }
    i += c.bytes;
  }
  return cased;
}

bool IsIdentifierText(std::string_view text) {
  return All<IsWord>(text) && !IsNumeric(Decode(text, 0).value);
}

bool IsPrintableText(std::string_view text) { return text.empty() || All<IsPrintable>(text); }

template <bool (*kHolds)(std::string_view)>
Value Ask(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("str method", arguments, {});
  interpreter.budget().Bytes(self.as_string().size());
  return Value::Bool(kHolds(self.as_string()));
}

constexpr MethodEntry kTestMethods[] = {
    {"isdigit", Ask<All<IsDigit>>},        {"isalpha", Ask<All<IsAlpha>>},
    {"isalnum", Ask<All<IsAlphanumeric>>}, {"isspace", Ask<All<IsSpace>>},
    {"isupper", Ask<IsUpperText>},         {"islower", Ask<IsLowerText>},
    {"isdecimal", Ask<All<IsDecimal>>},    {"isnumeric", Ask<All<IsNumeric>>},
    {"istitle", Ask<IsTitleText>},         {"isidentifier", Ask<IsIdentifierText>},
    {"isprintable", Ask<IsPrintableText>}, {"isascii", Ask<IsAscii>},
};

}  // namespace

std::span<const MethodEntry> StringTestMethods() { return kTestMethods; }

}  // namespace millrace::jinja
