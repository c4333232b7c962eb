// What only the interpreter makes: the objects behind Value::FromObject. They have state, live
// within one rendering and never leave it.
//
// Namespaces, and scopes that a macro closes over, may refer to each other in circles; the
// interpreter keeps a list of both and empties them when the rendering ends.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "chat_template/ast.h"
#include "chat_template/civil_time.h"
#include "chat_template/value.h"

namespace millrace::jinja {

class Interpreter;

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// The variables of one block, looked up from the inside outwards. Null stands for the template's
// top level.
struct Scope : std::enable_shared_from_this<Scope> {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<Symbol, Value>> variables;
  bool captured = false;  // a macro closes over it: it outlives its block
};

using MethodFunction = Value (*)(Interpreter&, const Value& self, const CallArguments&);
using BuiltinFunction = Value (*)(Interpreter&, const CallArguments&);

struct NamespaceObject {
  Dict attributes;
};
struct MacroObject {
  std::shared_ptr<const MacroDefinition> definition;
  std::shared_ptr<Scope> scope;
};
struct MethodObject {
  Value self;
  MethodFunction function;
};
struct StrftimeObject {  // strftime_now, with its now
  CivilTime now;
};
struct BuiltinObject {
  BuiltinFunction function;
};
struct JoinerObject {
  Value separator;
  bool used = false;
};
struct CyclerObject {
  std::vector<Value> items;
  size_t position = 0;
};
struct LoopObject {
  std::shared_ptr<const Sequence> items;
  size_t index = 0;
  int64_t depth = 1;
  const ForStmt* recursive = nullptr;  // null unless loop(...) may be called
  std::shared_ptr<Scope> scope;        // where the loop stands
  std::vector<Value> last_changed;
  bool changed_called = false;
};

struct Object {
  std::variant<NamespaceObject, MacroObject, MethodObject, BuiltinObject, StrftimeObject,
               JoinerObject, CyclerObject, LoopObject>
      data;

  std::string_view type_name() const {
    static constexpr std::string_view kNames[] = {
        "Namespace", "Macro",      "builtin_function_or_method", "function", "function", "Joiner",
        "Cycler",    "LoopContext"};
    return kNames[data.index()];
  }
};

}  // namespace millrace::jinja
