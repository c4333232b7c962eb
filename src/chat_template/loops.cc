// The interpreter's for loops and the `loop` object.
#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/interpreter.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

std::shared_ptr<const Sequence> MakeItems(std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->items = std::move(items);
  return sequence;
}

}  // namespace

std::shared_ptr<const Sequence> Interpreter::Iterate(const Value& value) {
  std::vector<Value> items;
  switch (value.type()) {
    case ValueType::kSequence: {
      const Sequence& sequence = value.as_sequence();
      if (sequence.kind != SequenceKind::kIterator) return value.shared_sequence();
      budget_.Elements(sequence.items.size());
      items.assign(sequence.items.begin() + static_cast<std::ptrdiff_t>(sequence.consumed),
                   sequence.items.end());
      sequence.consumed = sequence.items.size();
      break;
    }
    case ValueType::kDict:
      budget_.AllocateMany(value.as_dict().size(), sizeof(Value));
      for (const auto& [key, unused] : value.as_dict().entries()) items.push_back(key);
      break;
    case ValueType::kString: {
      budget_.AllocateMany(value.as_string().size(), sizeof(Value) + sizeof(Text));
      for (const std::string_view c : SplitCodePoints(value.as_string())) {
        items.push_back(Value::String(std::string(c)));
      }
      break;
    }
    case ValueType::kUndefined:
      break;
    default:
      Fail("'" + std::string(TypeName(value)) + "' object is not iterable");
  }
  return MakeItems(std::move(items));
}

std::shared_ptr<const Sequence> Interpreter::FilterItems(const ForStmt& statement,
                                                         std::shared_ptr<const Sequence> items) {
  std::vector<Value> kept;
  std::shared_ptr<Scope> outer = scope_;
  for (const Value& item : items->items) {
    budget_.Step();
    scope_ = std::make_shared<Scope>();
    scope_->parent = outer;
    Assign(statement.target, item);
    if (Truthy(Eval(*statement.condition))) kept.push_back(item);
  }
  scope_ = std::move(outer);
  budget_.AllocateMany(kept.size(), sizeof(Value));
  return MakeItems(std::move(kept));
}

Interpreter::Flow Interpreter::Exec(const ForStmt& statement) {
  RunLoop(statement, Eval(*statement.iterable), 1);
  return Flow::kNormal;
}

void Interpreter::RunLoop(const ForStmt& statement, const Value& iterable, int64_t depth) {
  std::shared_ptr<const Sequence> items = Iterate(iterable);
  if (statement.condition) items = FilterItems(statement, std::move(items));
  std::shared_ptr<Scope> outer = scope_;
  LoopObject state;
  state.items = items;
  state.depth = depth;
  state.recursive = statement.recursive ? &statement : nullptr;
  if (statement.recursive) state.scope = outer;
  const Value loop = MakeObject(Object{std::move(state)});
  std::shared_ptr<Scope> scope;
  for (size_t i = 0; i < items->items.size(); ++i) {
    // A scope that a macro closed over stays with the macro; otherwise the last round's serves
    // again.
    if (scope == nullptr || scope->captured) {
      scope = std::make_shared<Scope>();
      scope->parent = outer;
    }
    scope->variables.clear();
    scope_ = scope;
    std::get<LoopObject>(loop.as_object().data).index = i;
    SetVariable(SymbolOf(KnownSymbol::kLoop), loop);
    Assign(statement.target, items->items[i]);
    if (ExecBody(statement.body) == Flow::kBreak) break;
  }
  if (items->items.empty() && !statement.otherwise.empty()) {
    scope_ = std::make_shared<Scope>();
    scope_->parent = outer;
    ExecBody(statement.otherwise);
  }
  scope_ = std::move(outer);
}

Value Interpreter::CallLoop(const LoopObject& loop, const CallArguments& arguments) {
  if (loop.recursive == nullptr)
    Fail("The loop must have the 'recursive' marker to be called recursively.");
  const BoundArguments bound("loop", arguments, {"iterable"}, 1);
  const Budget::Level level(budget_);
  std::string text;
  std::string* const outer_out = std::exchange(out_, &text);
  std::shared_ptr<Scope> outer_scope = std::exchange(scope_, loop.scope);
  RunLoop(*loop.recursive, bound[0], loop.depth + 1);
  out_ = outer_out;
  scope_ = std::move(outer_scope);
  return MakeString(std::move(text));
}

bool Interpreter::LoopChanged(const Value& loop_value, std::vector<Value> values) {
  auto& loop = std::get<LoopObject>(loop_value.as_object().data);
  if (!loop.changed_called) {
    loop.changed_called = true;
    circular_objects_.push_back(loop_value.shared_object());
  } else if (Equal(Value::Tuple(loop.last_changed), Value::Tuple(values), &budget_)) {
    return false;
  }
  loop.last_changed = std::move(values);
  return true;
}

std::optional<Value> Interpreter::LoopAttribute(const LoopObject& loop, std::string_view name) {
  const std::vector<Value>& items = loop.items->items;
  const auto index = static_cast<int64_t>(loop.index);
  const auto length = static_cast<int64_t>(items.size());
  if (name == "index") return Value::Int(index + 1);
  if (name == "index0") return Value::Int(index);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == length);
  if (name == "length") return Value::Int(length);
  if (name == "revindex") return Value::Int(length - index);
  if (name == "revindex0") return Value::Int(length - index - 1);
  if (name == "depth") return Value::Int(loop.depth);
  if (name == "depth0") return Value::Int(loop.depth - 1);
  if (name == "previtem")
    return index == 0 ? Value::Undefined("there is no previous item") : items[loop.index - 1];
  if (name == "nextitem") {
    return index + 1 == length ? Value::Undefined("there is no next item") : items[loop.index + 1];
  }
  return std::nullopt;
}

}  // namespace millrace::jinja
