// The parser's class, shared by its two halves: statements (parser.cc) and expressions
// (parser_expressions.cc).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat_template/ast.h"
#include "chat_template/lexer.h"

namespace millrace::jinja {

inline constexpr int kMaxParserNesting = 100;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens);
  std::shared_ptr<const Template> Run();

 private:
  // One level of nested source, for as long as it lives.
  class Level {
   public:
    explicit Level(Parser& parser);
    ~Level() { --parser_.nesting_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  // The stream of tokens.
  const Token& Current() const { return tokens_[position_]; }
  const Token& Next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  int Line() const { return Current().line; }
  Token Take();
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  void ExpectOperator(std::string_view op);
  void ExpectName(std::string_view name);
  std::string ExpectAnyName();
  void Expect(TokenType type);
  [[noreturn]] void FailHere(const std::string& message) const { FailAtLine(Line(), message); }
  [[noreturn]] void FailUnexpected(std::string_view wanted) const;

  Symbol Intern(const std::string& name);
  ExprPtr Make(int line, Expr::Node node) const;

  // Statements. A body ends before the tag whose name is in `ends`; that name is the current token
  // afterwards.
  Body ParseBody(std::initializer_list<std::string_view> ends);
  Body ParseBlockBody(std::initializer_list<std::string_view> ends);
  void ParseStatement(Body& body);
  Stmt ParseSet(int line);
  Stmt ParseFor(int line);
  Stmt ParseIf(int line);
  Stmt ParseWith(int line);
  Stmt ParseMacro(int line);
  Stmt ParseCallBlock(int line);
  Stmt ParseFilterBlock(int line);
  Stmt ParseScopeBlock(int line, const std::string& tag);
  void ParsePrint(Body& body);
  void ParseSignature(MacroDefinition& macro);
  std::shared_ptr<const MacroDefinition> ParseMacroBody(std::shared_ptr<MacroDefinition> macro,
                                                        std::string_view end);
  Target ParseNameOrTupleTarget(std::string_view end_name);
  Target ParseTarget();
  std::string ParseTargetName();
  void CheckAssignable(const std::string& name) const;

  // Expressions, from the loosest binding to the tightest.
  enum class Conditional { kAllowed, kNotAllowed };
  ExprPtr ParseExpression() { return ParseConditional(); }
  ExprPtr ParseTuple(Conditional conditional, std::string_view end_name = {},
                     bool in_parentheses = false);
  ExprPtr ParseConditional();
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  enum class Filters { kTaken, kLeft };
  ExprPtr ParseUnary(Filters filters);
  ExprPtr ParsePrimary();
  ExprPtr ParseName();
  ExprPtr ParseList();
  ExprPtr ParseDict();
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseFilters(ExprPtr expr);
  ExprPtr ParseFilterChain(ExprPtr input, bool first_without_pipe);
  ExprPtr ParseTest(ExprPtr expr);
  ExprPtr ParseSubscript(ExprPtr object);
  ExprPtr ParseSubscribed();
  ExprPtr ParseCall(ExprPtr callee);
  Arguments ParseArguments();
  std::string ParseDottedName();
  bool AtTupleEnd(std::string_view end_name) const;

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  // for blocks around the current tag, for break and continue
  std::vector<MacroDefinition*> macros_;  // macros around the current tag
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, Symbol> symbol_of_;
};

}  // namespace millrace::jinja
