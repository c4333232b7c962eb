// The interpreter's macros and call blocks, after Macro.__call__ of jinja2/runtime.py.
#include <algorithm>

#include "chat_template/failure.h"
#include "chat_template/interpreter.h"

namespace millrace::jinja {

Value Interpreter::MakeMacro(std::shared_ptr<const MacroDefinition> definition) {
  // What the macro closes over must outlive its block, and is emptied at the end.
  for (Scope* scope = scope_.get(); scope != nullptr && !scope->captured;
       scope = scope->parent.get()) {
    scope->captured = true;
    captured_scopes_.push_back(scope->shared_from_this());
  }
  return MakeObject(Object{MacroObject{std::move(definition), scope_}});
}

Interpreter::Flow Interpreter::Exec(const MacroStmt& statement) {
  SetVariable(statement.symbol, MakeMacro(statement.macro));
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const CallStmt& statement) {
  const auto& call = std::get<CallExpr>(statement.call->node);
  const Value callee = Eval(*call.callee);
  CallArguments arguments = EvalArguments(call.arguments);
  arguments.named.emplace_back("caller", MakeMacro(statement.caller));
  Emit(ToStr(Call(callee, arguments)));
  return Flow::kNormal;
}

std::vector<std::pair<std::string, Value>> Interpreter::BindParameters(
    const MacroDefinition& macro, const CallArguments& arguments) {
  auto extra = arguments.named;
  std::vector<bool> bound(macro.parameters.size());
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    if (i < arguments.positional.size()) {
      SetVariable(parameter.symbol, arguments.positional[i]);
      bound[i] = true;
      continue;
    }
    const auto found = std::find_if(extra.begin(), extra.end(), [&](const auto& named) {
      return named.first == parameter.name;
    });
    if (found == extra.end()) continue;
    SetVariable(parameter.symbol, std::move(found->second));
    bound[i] = true;
    extra.erase(found);
  }
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    if (bound[i]) continue;
    const Parameter& parameter = macro.parameters[i];
    SetVariable(parameter.symbol,
                parameter.default_value
                    ? Eval(*parameter.default_value)
                    : Value::Undefined("parameter '" + parameter.name + "' was not provided"));
  }
  return extra;
}

void Interpreter::BindSpecials(const MacroDefinition& macro, const CallArguments& arguments,
                               std::vector<std::pair<std::string, Value>> extra) {
  const bool own_caller =
      std::any_of(macro.parameters.begin(), macro.parameters.end(),
                  [](const Parameter& parameter) { return parameter.name == "caller"; });
  if (macro.uses_caller && !own_caller) {
    const auto found =
        std::find_if(extra.begin(), extra.end(), [](const auto& n) { return n.first == "caller"; });
    SetVariable(SymbolOf(KnownSymbol::kCaller),
                found == extra.end() ? Value::Undefined("No caller defined") : found->second);
    if (found != extra.end()) extra.erase(found);
  }
  if (macro.uses_kwargs) {
    Dict kwargs;
    for (auto& [name, value] : extra) kwargs.Set(name, std::move(value));
    SetVariable(SymbolOf(KnownSymbol::kKwargs), MakeDict(std::move(kwargs)));
  } else if (!extra.empty()) {
    Fail("macro '" + macro.name + "' takes no keyword argument '" + extra.front().first + "'");
  }
  const size_t count = macro.parameters.size();
  if (macro.uses_varargs) {
    const size_t first = std::min(count, arguments.positional.size());
    SetVariable(SymbolOf(KnownSymbol::kVarargs),
                MakeTuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(first),
                           arguments.positional.end()}));
  } else if (arguments.positional.size() > count) {
    Fail("macro '" + macro.name + "' takes not more than " + std::to_string(count) +
         " argument(s)");
  }
}

Value Interpreter::CallMacro(const MacroObject& macro, const CallArguments& arguments) {
  const Budget::Level level(budget_);
  const std::shared_ptr<const MacroDefinition> definition = macro.definition;
  auto scope = std::make_shared<Scope>();
  scope->parent = macro.scope;
  const int line = line_;
  std::shared_ptr<Scope> outer = std::exchange(scope_, scope);
  BindSpecials(*definition, arguments, BindParameters(*definition, arguments));
  scope_ = std::move(outer);
  Captured captured = Capture(definition->body, std::move(scope));
  line_ = line;
  return MakeString(std::move(captured.text));
}

}  // namespace millrace::jinja
