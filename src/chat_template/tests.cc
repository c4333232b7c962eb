#include "chat_template/tests.h"

#include <cmath>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

using I = Interpreter;
using A = CallArguments;
using V = Value;

const Value& Other(const CallArguments& arguments) {
  if (arguments.positional.size() != 1) Fail("the test takes one argument");
  return arguments.positional[0];
}

template <CompareOp kOp>
bool Compares(I& interpreter, const V& input, const A& arguments) {
  return Compare(kOp, input, Other(arguments), interpreter.budget());
}

int64_t Modulo(const Value& input, int64_t divisor) {
  const auto number = AsNumber(input);
  if (!number || number->is_float)
    Fail("the test needs an integer, not '" + std::string(TypeName(input)) + "'");
  if (divisor == 0) Fail("integer modulo by zero");
  if (divisor == -1) return 0;
  return number->integer % divisor;
}

bool IsIterable(I&, const V& v, const A&) {
  return v.is_sequence() || v.is_string() || v.is_dict() || v.is_undefined();
}
bool IsCallable(I&, const V& v, const A&) {
  if (!v.is_object()) return false;
  const auto& data = v.as_object().data;
  return !std::holds_alternative<NamespaceObject>(data) &&
         !std::holds_alternative<CyclerObject>(data);
}
bool IsCased(const Value& v, I& interpreter, bool (*right)(char32_t), bool (*wrong)(char32_t)) {
  const std::string text = interpreter.ToStr(v);
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (wrong(c.value)) return false;
    any = any || right(c.value);
    i += c.bytes;
  }
  return any;
}

constexpr TestEntry kTests[] = {
    {"defined", [](I&, const V& v, const A&) { return !v.is_undefined(); }},
    {"undefined", [](I&, const V& v, const A&) { return v.is_undefined(); }},
    {"none", [](I&, const V& v, const A&) { return v.is_none(); }},
    {"boolean", [](I&, const V& v, const A&) { return v.is_bool(); }},
    {"true", [](I&, const V& v, const A&) { return v.is_bool() && v.as_bool(); }},
    {"false", [](I&, const V& v, const A&) { return v.is_bool() && !v.as_bool(); }},
    {"integer", [](I&, const V& v, const A&) { return v.is_int(); }},
    {"float", [](I&, const V& v, const A&) { return v.is_float(); }},
    {"number", [](I&, const V& v, const A&) { return v.is_int() || v.is_float() || v.is_bool(); }},
    {"string", [](I&, const V& v, const A&) { return v.is_string(); }},
    {"mapping", [](I&, const V& v, const A&) { return v.is_dict(); }},
    {"sequence",
     [](I&, const V& v, const A&) {
       const bool indexable =
           v.is_sequence(SequenceKind::kList) || v.is_sequence(SequenceKind::kTuple) ||
           v.is_sequence(SequenceKind::kRange) || v.is_sequence(SequenceKind::kGroup);
       return indexable || v.is_string() || v.is_dict() || v.is_undefined();
     }},
    {"iterable", IsIterable},
    {"callable", IsCallable},
    {"escaped", [](I&, const V& v, const A&) { return v.is_safe(); }},
    {"even", [](I&, const V& v, const A&) { return Modulo(v, 2) == 0; }},
    {"odd", [](I&, const V& v, const A&) { return Modulo(v, 2) != 0; }},
    {"divisibleby", [](I&, const V& v, const A& a) { return Modulo(v, AsIndex(Other(a))) == 0; }},
    {"sameas", [](I&, const V& v, const A& a) { return v.IsSame(Other(a)); }},
    {"in", Compares<CompareOp::kIn>},
    {"eq", Compares<CompareOp::kEqual>},
    {"equalto", Compares<CompareOp::kEqual>},
    {"==", Compares<CompareOp::kEqual>},
    {"ne", Compares<CompareOp::kNotEqual>},
    {"!=", Compares<CompareOp::kNotEqual>},
    {"lt", Compares<CompareOp::kLess>},
    {"lessthan", Compares<CompareOp::kLess>},
    {"<", Compares<CompareOp::kLess>},
    {"le", Compares<CompareOp::kLessEqual>},
    {"<=", Compares<CompareOp::kLessEqual>},
    {"gt", Compares<CompareOp::kGreater>},
    {"greaterthan", Compares<CompareOp::kGreater>},
    {">", Compares<CompareOp::kGreater>},
    {"ge", Compares<CompareOp::kGreaterEqual>},
    {">=", Compares<CompareOp::kGreaterEqual>},
    {"lower", [](I& i, const V& v, const A&) { return IsCased(v, i, IsLower, IsUpper); }},
    {"upper", [](I& i, const V& v, const A&) { return IsCased(v, i, IsUpper, IsLower); }},
    {"filter", [](I&, const V& v,
                  const A&) { return v.is_string() && FindFilter(v.as_string()) != nullptr; }},
    {"test",
     [](I&, const V& v, const A&) { return v.is_string() && FindTest(v.as_string()) != nullptr; }},
};

}  // namespace

const TestEntry* FindTest(std::string_view name) {
  for (const TestEntry& entry : kTests) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace millrace::jinja
