// The interpreter's expressions.
#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/tests.h"

namespace millrace::jinja {

Value Interpreter::Eval(const Expr& expr) {
  const Budget::Level level(budget_);
  budget_.Step();
  return std::visit([this](const auto& node) { return Eval(node); }, expr.node);
}

Value Interpreter::Eval(const SequenceExpr& expr) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) items.push_back(Eval(*item));
  return MakeSequence(expr.kind, std::move(items));
}

Value Interpreter::Eval(const DictExpr& expr) {
  Dict dict;
  for (const auto& [key_expr, value_expr] : expr.entries) {
    Value key = Eval(*key_expr);
    SetKey(dict, std::move(key), Eval(*value_expr));
  }
  return MakeDict(std::move(dict));
}

Value Interpreter::Eval(const UnaryExpr& expr) {
  const Value operand = Eval(*expr.operand);
  if (expr.op == UnaryOp::kNot) return Value::Bool(!Truthy(operand));
  RequireDefined(operand);
  const std::optional<Number> number = AsNumber(operand);
  if (!number) {
    Fail(std::string("bad operand type for unary ") + (expr.op == UnaryOp::kMinus ? "-" : "+") +
         ": '" + std::string(TypeName(operand)) + "'");
  }
  if (number->is_float)
    return Value::Float(expr.op == UnaryOp::kMinus ? -number->real : number->real);
  if (expr.op == UnaryOp::kPlus) return Value::Int(number->integer);
  return Arithmetic(BinaryOp::kSubtract, Number{}, *number);
}

Value Interpreter::Eval(const BinaryExpr& expr) {
  const Value left = Eval(*expr.left);
  const Value right = Eval(*expr.right);
  return Binary(expr.op, left, right);
}

Value Interpreter::Eval(const ConcatExpr& expr) {
  std::string text;
  for (const ExprPtr& part : expr.parts) AppendStr(Eval(*part), text, budget_);
  return MakeString(std::move(text));
}

Value Interpreter::Eval(const LogicExpr& expr) {
  Value left = Eval(*expr.left);
  const bool decided = Truthy(left) == (expr.op == LogicOp::kOr);
  return decided ? left : Eval(*expr.right);
}

Value Interpreter::Eval(const CompareExpr& expr) {
  Value left = Eval(*expr.first);
  for (const auto& [op, operand] : expr.rest) {
    Value right = Eval(*operand);
    if (!Compare(op, left, right, budget_)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::Eval(const ConditionalExpr& expr) {
  if (Truthy(Eval(*expr.test))) return Eval(*expr.then);
  if (expr.otherwise) return Eval(*expr.otherwise);
  return Value::Undefined(
      "the inline if-expression evaluated to false and no else section was defined.");
}

Value Interpreter::Eval(const AttributeExpr& expr) {
  return GetAttribute(Eval(*expr.object), expr.name);
}

Value Interpreter::Eval(const SubscriptExpr& expr) {
  const Value object = Eval(*expr.object);
  if (const auto* slice = std::get_if<SliceExpr>(&expr.index->node)) {
    const Value start = EvalOptional(slice->start);
    const Value stop = EvalOptional(slice->stop);
    return Slice(object, start, stop, EvalOptional(slice->step));
  }
  return GetItem(object, Eval(*expr.index));
}

Value Interpreter::Eval(const SliceExpr&) { Fail("a slice stands where a value is needed"); }

CallArguments Interpreter::EvalArguments(const Arguments& arguments) {
  CallArguments out;
  out.positional.reserve(arguments.positional.size());
  for (const ExprPtr& argument : arguments.positional) out.positional.push_back(Eval(*argument));
  for (const auto& [name, argument] : arguments.named)
    out.named.emplace_back(name, Eval(*argument));
  if (arguments.spread) {
    const auto items = Iterate(Eval(*arguments.spread));
    budget_.AllocateMany(items->items.size(), sizeof(Value));
    out.positional.insert(out.positional.end(), items->items.begin(), items->items.end());
  }
  if (arguments.spread_named) {
    const Value named = Eval(*arguments.spread_named);
    if (!named.is_dict())
      Fail("argument after ** must be a mapping, not " + std::string(TypeName(named)));
    budget_.AllocateMany(named.as_dict().size(), 2 * sizeof(Value));
    for (const auto& [key, value] : named.as_dict().entries()) {
      if (!key.is_string()) Fail("keywords must be strings");
      out.named.emplace_back(std::string(key.as_string()), value);
    }
  }
  return out;
}

Value Interpreter::Eval(const CallExpr& expr) {
  const Value callee = Eval(*expr.callee);
  return Call(callee, EvalArguments(expr.arguments));
}

Value Interpreter::Call(const Value& callee, const CallArguments& arguments) {
  budget_.Step();
  RequireDefined(callee);
  if (callee.is_object()) {
    const std::shared_ptr<Object> object = callee.shared_object();
    if (const auto* builtin = std::get_if<BuiltinObject>(&object->data))
      return builtin->function(*this, arguments);
    if (const auto* method = std::get_if<MethodObject>(&object->data)) {
      return method->function(*this, method->self, arguments);
    }
    if (const auto* macro = std::get_if<MacroObject>(&object->data))
      return CallMacro(*macro, arguments);
    if (const auto* loop = std::get_if<LoopObject>(&object->data))
      return CallLoop(*loop, arguments);
    if (const auto* time = std::get_if<StrftimeObject>(&object->data)) {
      const BoundArguments bound("strftime_now", arguments, {"format"}, 1);
      budget_.AllocateMany(bound.String(0).size(), 16);
      return MakeString(FormatTime(time->now, bound.String(0)));
    }
    if (auto* joiner = std::get_if<JoinerObject>(&object->data)) {
      return std::exchange(joiner->used, true) ? joiner->separator : Value::String("");
    }
  }
  Fail("'" + std::string(TypeName(callee)) + "' object is not callable");
}

Value Interpreter::Eval(const FilterExpr& expr) {
  const Value input = expr.input ? Eval(*expr.input) : filter_input_;
  if (expr.filter == nullptr) Fail("No filter named '" + expr.name + "'.");
  return expr.filter->function(*this, input, EvalArguments(expr.arguments));
}

Value Interpreter::EvalFilterBlock(const Expr& filter, std::string text) {
  Value outer = std::exchange(filter_input_, MakeString(std::move(text)));
  Value result = Eval(filter);
  filter_input_ = std::move(outer);
  return result;
}

Value Interpreter::Eval(const TestExpr& expr) {
  const Value input = Eval(*expr.input);
  if (expr.test == nullptr) Fail("No test named '" + expr.name + "'.");
  return Value::Bool(expr.test->function(*this, input, EvalArguments(expr.arguments)));
}

Value Interpreter::ApplyFilter(std::string_view name, const Value& input,
                               const CallArguments& arguments) {
  const Budget::Level level(budget_);
  budget_.Step();
  const FilterEntry* filter = FindFilter(name);
  if (filter == nullptr) Fail("No filter named '" + std::string(name) + "'.");
  return filter->function(*this, input, arguments);
}

bool Interpreter::ApplyTest(std::string_view name, const Value& input,
                            const CallArguments& arguments) {
  const Budget::Level level(budget_);
  budget_.Step();
  const TestEntry* test = FindTest(name);
  if (test == nullptr) Fail("No test named '" + std::string(name) + "'.");
  return test->function(*this, input, arguments);
}

}  // namespace millrace::jinja
