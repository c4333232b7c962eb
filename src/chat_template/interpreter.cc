#include "chat_template/interpreter.h"

#include <algorithm>

#include "chat_template/failure.h"
#include "chat_template/functions.h"

namespace millrace::jinja {

Interpreter::Interpreter(const Template& source, const Dict& context, const RenderLimits& limits)
    : template_(source), budget_(limits) {
  if (context.depth() > kMaxValueDepth) {
    FailTooLarge("the conversation nests deeper than " + std::to_string(kMaxValueDepth) +
                 " levels");
  }
  globals_.resize(source.symbols.size());
  for (size_t i = 0; i < source.symbols.size(); ++i) {
    if (const Value* value = context.Find(source.symbols[i])) {
      globals_[i] = *value;
    } else if (const BuiltinFunction function = FindBuiltin(source.symbols[i])) {
      globals_[i] = MakeObject(Object{BuiltinObject{function}});
    }
  }
}

Interpreter::~Interpreter() { EmptyCircles(); }

void Interpreter::EmptyCircles() {
  for (const auto& object : circular_objects_) {
    if (auto* space = std::get_if<NamespaceObject>(&object->data)) space->attributes = Dict();
    if (auto* loop = std::get_if<LoopObject>(&object->data)) loop->last_changed.clear();
  }
  for (const auto& scope : captured_scopes_) scope->variables.clear();
}

std::string Interpreter::Run() {
  ExecBody(template_.body);
  return std::move(output_);
}

Value Interpreter::MakeString(std::string text) {
  budget_.Allocate(text.size() + sizeof(Text));
  return Value::String(std::move(text));
}

Value Interpreter::MakeSequence(SequenceKind kind, std::vector<Value> items) {
  budget_.Elements(items.size());
  budget_.Allocate(items.size() * sizeof(Value) + sizeof(Sequence));
  Value value = Value::FromSequence(kind, std::move(items));
  if (value.depth() > kMaxValueDepth) Fail("the template builds values that nest too deeply");
  return value;
}

Value Interpreter::MakeDict(Dict dict) {
  budget_.Elements(dict.size());
  budget_.Allocate(dict.size() * 3 * sizeof(Value) + sizeof(Dict));
  if (dict.depth() > kMaxValueDepth) Fail("the template builds values that nest too deeply");
  return Value::Map(std::move(dict));
}

Value Interpreter::MakeObject(Object object) {
  budget_.Allocate(sizeof(Object));
  const bool is_namespace = std::holds_alternative<NamespaceObject>(object.data);
  auto shared = std::make_shared<Object>(std::move(object));
  if (is_namespace) circular_objects_.push_back(shared);
  return Value::FromObject(std::move(shared));
}

void Interpreter::SetKey(Dict& dict, Value key, Value value) {
  CheckHashable(key, budget_);
  dict.Set(std::move(key), std::move(value));
}

void Interpreter::Emit(std::string_view text) {
  budget_.Bytes(text.size());
  if (out_ == &output_) {
    budget_.Output(output_.size() + text.size());
  } else {
    budget_.Allocate(text.size());
  }
  *out_ += text;
}

const Value* Interpreter::FindVariable(Symbol symbol) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [name, value] : scope->variables) {
      if (name == symbol) return &value;
    }
  }
  return globals_[symbol] ? &*globals_[symbol] : nullptr;
}

Value Interpreter::Lookup(Symbol symbol) const {
  if (const Value* value = FindVariable(symbol)) return *value;
  return Value::Undefined("'" + template_.symbols[symbol] + "' is undefined");
}

void Interpreter::SetVariable(Symbol symbol, Value value) {
  if (scope_ == nullptr) {
    globals_[symbol] = std::move(value);
    return;
  }
  for (auto& [name, current] : scope_->variables) {
    if (name == symbol) {
      current = std::move(value);
      return;
    }
  }
  scope_->variables.emplace_back(symbol, std::move(value));
}

void Interpreter::Assign(const Target& target, const Value& value) {
  if (const auto* name = std::get_if<Target::Name>(&target.node)) {
    SetVariable(name->symbol, value);
  } else if (const auto* attribute = std::get_if<Target::Attribute>(&target.node)) {
    const Value object = Lookup(attribute->object);
    RequireDefined(object);
    NamespaceObject* space =
        object.is_object() ? std::get_if<NamespaceObject>(&object.as_object().data) : nullptr;
    if (space == nullptr) Fail("cannot assign attribute on non-namespace object");
    budget_.Allocate(attribute->name.size() + sizeof(Value));
    space->attributes.Set(attribute->name, value);
  } else {
    const auto& targets = std::get<std::vector<Target>>(target.node);
    const auto items = Iterate(value);
    if (items->items.size() < targets.size()) {
      Fail("not enough values to unpack (expected " + std::to_string(targets.size()) + ", got " +
           std::to_string(items->items.size()) + ")");
    }
    if (items->items.size() > targets.size()) {
      Fail("too many values to unpack (expected " + std::to_string(targets.size()) + ")");
    }
    for (size_t i = 0; i < targets.size(); ++i) Assign(targets[i], items->items[i]);
  }
}

Interpreter::Captured Interpreter::Capture(const Body& body, std::shared_ptr<Scope> scope) {
  Captured captured;
  std::string* const outer_out = std::exchange(out_, &captured.text);
  std::shared_ptr<Scope> outer_scope = std::exchange(scope_, std::move(scope));
  captured.flow = ExecBody(body);
  out_ = outer_out;
  scope_ = std::move(outer_scope);
  return captured;
}

Interpreter::Flow Interpreter::ExecBody(const Body& body) {
  const Budget::Level level(budget_);
  for (const Stmt& statement : body) {
    budget_.Step();
    line_ = statement.line;
    const Flow flow = std::visit([this](const auto& node) { return Exec(node); }, statement.node);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const TextStmt& statement) {
  Emit(statement.text);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const PrintStmt& statement) {
  const Value value = Eval(*statement.value);
  if (value.is_string()) {
    Emit(value.as_string());
  } else {
    Emit(ToStr(value));
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const SetStmt& statement) {
  Assign(statement.target, Eval(*statement.value));
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const SetBlockStmt& statement) {
  auto scope = std::make_shared<Scope>();
  scope->parent = scope_;
  Captured captured = Capture(statement.body, std::move(scope));
  if (captured.flow != Flow::kNormal) return captured.flow;
  Assign(statement.target, statement.filter
                               ? EvalFilterBlock(*statement.filter, std::move(captured.text))
                               : MakeString(std::move(captured.text)));
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const FilterStmt& statement) {
  auto scope = std::make_shared<Scope>();
  scope->parent = scope_;
  Captured captured = Capture(statement.body, std::move(scope));
  if (captured.flow != Flow::kNormal) return captured.flow;
  Emit(ToStr(EvalFilterBlock(*statement.filter, std::move(captured.text))));
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const IfStmt& statement) {
  for (const IfStmt::Branch& branch : statement.branches) {
    if (!branch.test || Truthy(Eval(*branch.test))) return ExecBody(branch.body);
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const WithStmt& statement) {
  auto scope = std::make_shared<Scope>();
  scope->parent = scope_;
  std::vector<Value> values;  // all see the outer variables only
  for (const auto& [target, value] : statement.assignments) values.push_back(Eval(*value));
  std::shared_ptr<Scope> outer = std::exchange(scope_, std::move(scope));
  for (size_t i = 0; i < values.size(); ++i) Assign(statement.assignments[i].first, values[i]);
  const Flow flow = ExecBody(statement.body);
  scope_ = std::move(outer);
  return flow;
}

Interpreter::Flow Interpreter::Exec(const ScopeStmt& statement) {
  auto scope = std::make_shared<Scope>();
  scope->parent = scope_;
  std::shared_ptr<Scope> outer = std::exchange(scope_, std::move(scope));
  const Flow flow = ExecBody(statement.body);
  scope_ = std::move(outer);
  return flow;
}

}  // namespace millrace::jinja
