// Interpreter: renders one template once, with Python's and Jinja's semantics as transformers sets
// them up (ImmutableSandboxedEnvironment, no autoescape, lenient undefined values).
//
// Invariant: everything it does is charged to the Budget first, and its recursion is bounded, so
// whatever the template and the context, Run ends with a text or throws a Failure. It holds the
// only mutable state of a rendering.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat_template/ast.h"
#include "chat_template/budget.h"
#include "chat_template/objects.h"

namespace millrace::jinja {

class Interpreter {
 public:
  // All references must outlive the interpreter.
  Interpreter(const Template& source, const Dict& context, const RenderLimits& limits);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string Run();
  // Where the statement stands that ran last; for messages.
  int line() const { return line_; }

  // For filters, tests, methods and functions.
  Budget& budget() { return budget_; }
  // New values, charged and, for containers, checked for depth.
  Value MakeString(std::string text);
  Value MakeList(std::vector<Value> items) {
    return MakeSequence(SequenceKind::kList, std::move(items));
  }
  Value MakeTuple(std::vector<Value> items) {
    return MakeSequence(SequenceKind::kTuple, std::move(items));
  }
  Value MakeIterator(std::vector<Value> items) {
    return MakeSequence(SequenceKind::kIterator, std::move(items));
  }
  Value MakeSequence(SequenceKind kind, std::vector<Value> items);
  Value MakeDict(Dict dict);
  Value MakeObject(Object object);
  // Sets a key, which is checked to be hashable.
  void SetKey(Dict& dict, Value key, Value value);

  // The items that a loop over the value meets; an iterator is used up. Throws for what is not
  // iterable.
  std::shared_ptr<const Sequence> Iterate(const Value& value);
  std::string ToStr(const Value& value) { return Str(value, budget_); }
  // object.name and object[index]; what is missing is undefined.
  Value GetAttribute(const Value& object, std::string_view name);
  Value GetItem(const Value& object, const Value& index);
  // The attribute alone, as the filter attr wants it: never an item of a dict.
  Value GetOnlyAttribute(const Value& object, std::string_view name);
  // A path such as "a.b.0", as map, sort and the like take it.
  Value GetPath(const Value& object, const Value& path);
  Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step);

  Value Call(const Value& callee, const CallArguments& arguments);
  // loop.changed(...): whether the values differ from those of the call before.
  bool LoopChanged(const Value& loop, std::vector<Value> values);
  Value ApplyFilter(std::string_view name, const Value& input, const CallArguments& arguments);
  bool ApplyTest(std::string_view name, const Value& input, const CallArguments& arguments);
  Value Binary(BinaryOp op, const Value& left, const Value& right);

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  // Statements (interpreter.cc, loops.cc, macros.cc).
  Flow ExecBody(const Body& body);
  Flow Exec(const TextStmt& statement);
  Flow Exec(const PrintStmt& statement);
  Flow Exec(const SetStmt& statement);
  Flow Exec(const SetBlockStmt& statement);
  Flow Exec(const IfStmt& statement);
  Flow Exec(const ForStmt& statement);
  Flow Exec(const MacroStmt& statement);
  Flow Exec(const CallStmt& statement);
  Flow Exec(const FilterStmt& statement);
  Flow Exec(const WithStmt& statement);
  Flow Exec(const ScopeStmt& statement);
  Flow Exec(const BreakStmt&) { return Flow::kBreak; }
  Flow Exec(const ContinueStmt&) { return Flow::kContinue; }

  void RunLoop(const ForStmt& statement, const Value& iterable, int64_t depth);
  std::shared_ptr<const Sequence> FilterItems(const ForStmt& statement,
                                              std::shared_ptr<const Sequence> items);
  Value CallLoop(const LoopObject& loop, const CallArguments& arguments);
  std::optional<Value> LoopAttribute(const LoopObject& loop, std::string_view name);
  std::optional<Value> ObjectAttribute(const Object& object, std::string_view name);
  Value MakeMacro(std::shared_ptr<const MacroDefinition> definition);
  Value CallMacro(const MacroObject& macro, const CallArguments& arguments);
  std::vector<std::pair<std::string, Value>> BindParameters(const MacroDefinition& macro,
                                                            const CallArguments& arguments);
  void BindSpecials(const MacroDefinition& macro, const CallArguments& arguments,
                    std::vector<std::pair<std::string, Value>> extra);
  // Runs a body in `scope` and returns its text.
  struct Captured {
    std::string text;
    Flow flow;
  };
  Captured Capture(const Body& body, std::shared_ptr<Scope> scope);
  void Emit(std::string_view text);

  // Variables.
  void Assign(const Target& target, const Value& value);
  void SetVariable(Symbol symbol, Value value);
  Value Lookup(Symbol symbol) const;
  const Value* FindVariable(Symbol symbol) const;

  // Expressions (expressions.cc).
  Value Eval(const Expr& expr);
  Value Eval(const ConstExpr& expr) { return expr.value; }
  Value Eval(const NameExpr& expr) { return Lookup(expr.symbol); }
  Value Eval(const SequenceExpr& expr);
  Value Eval(const DictExpr& expr);
  Value Eval(const UnaryExpr& expr);
  Value Eval(const BinaryExpr& expr);
  Value Eval(const ConcatExpr& expr);
  Value Eval(const LogicExpr& expr);
  Value Eval(const CompareExpr& expr);
  Value Eval(const ConditionalExpr& expr);
  Value Eval(const AttributeExpr& expr);
  Value Eval(const SubscriptExpr& expr);
  Value Eval(const SliceExpr& expr);
  Value Eval(const CallExpr& expr);
  Value Eval(const FilterExpr& expr);
  Value Eval(const TestExpr& expr);
  Value EvalFilterBlock(const Expr& filter, std::string text);
  CallArguments EvalArguments(const Arguments& arguments);
  Value EvalOptional(const ExprPtr& expr) { return expr ? Eval(*expr) : Value::None(); }

  // Operators and access (access.cc).
  Value Repeat(const Value& value, int64_t count);
  std::optional<Value> FindItem(const Value& object, const Value& index);
  std::optional<Value> FindAttribute(const Value& object, std::string_view name);

  void EmptyCircles();

  const Template& template_;
  Budget budget_;
  std::vector<std::optional<Value>>
      globals_;  // by symbol: the context, the builtins and what the top level sets
  std::shared_ptr<Scope> scope_;  // null at the top level
  std::string output_;
  std::string* out_ = &output_;  // where text goes now: the output, or a capture
  Value filter_input_;           // the text that the innermost filter block works on
  int line_ = 0;
  // What may refer to itself in a circle, emptied at the end.
  std::vector<std::shared_ptr<Object>> circular_objects_;
  std::vector<std::shared_ptr<Scope>> captured_scopes_;
};

}  // namespace millrace::jinja
