#include "chat_template/parser.h"

#include <algorithm>

#include "chat_template/failure.h"
#include "chat_template/parser_internal.h"

namespace millrace::jinja {

Parser::Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  for (const char* name : {"caller", "varargs", "kwargs", "loop"})
    Intern(name);  // in the order of KnownSymbol
}

Parser::Level::Level(Parser& parser) : parser_(parser) {
  if (parser_.nesting_ >= kMaxParserNesting) {
    parser_.FailHere("the template nests deeper than " + std::to_string(kMaxParserNesting) +
                     " levels");
  }
  ++parser_.nesting_;
}

std::shared_ptr<const Template> Parser::Run() {
  auto result = std::make_shared<Template>();
  result->body = ParseBody({});
  result->symbols = std::move(symbols_);
  return result;
}

Token Parser::Take() {
  Token token = Current();
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool Parser::SkipName(std::string_view name) {
  if (!Current().IsName(name)) return false;
  Take();
  return true;
}

bool Parser::SkipOperator(std::string_view op) {
  if (!Current().IsOperator(op)) return false;
  Take();
  return true;
}

void Parser::FailUnexpected(std::string_view wanted) const {
  const Token& token = Current();
  std::string got;
  switch (token.type) {
    case TokenType::kEnd:
      got = "the end of the template";
      break;
    case TokenType::kData:
      got = "text";
      break;
    case TokenType::kBlockBegin:
      got = "'{%'";
      break;
    case TokenType::kBlockEnd:
      got = "the end of the tag, '%}'";
      break;
    case TokenType::kVariableBegin:
      got = "'{{'";
      break;
    case TokenType::kVariableEnd:
      got = "the end of the tag, '}}'";
      break;
    default:
      got = "'" + token.text + "'";
      break;
  }
  FailHere("expected " + std::string(wanted) + ", got " + got);
}

void Parser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailUnexpected("'" + std::string(op) + "'");
}

void Parser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailUnexpected("'" + std::string(name) + "'");
}

std::string Parser::ExpectAnyName() {
  if (Current().type != TokenType::kName) FailUnexpected("a name");
  return Take().text;
}

void Parser::Expect(TokenType type) {
  if (Current().type != type) FailUnexpected(type == TokenType::kBlockEnd ? "'%}'" : "'}}'");
  Take();
}

Symbol Parser::Intern(const std::string& name) {
  const auto [found, added] = symbol_of_.try_emplace(name, static_cast<Symbol>(symbols_.size()));
  if (added) symbols_.push_back(name);
  return found->second;
}

Body Parser::ParseBody(std::initializer_list<std::string_view> ends) {
  const Level level(*this);
  Body body;
  while (true) {
    const Token& token = Current();
    switch (token.type) {
      case TokenType::kData: {
        const int line = token.line;
        body.push_back(Stmt{line, TextStmt{Take().text}});
        break;
      }
      case TokenType::kVariableBegin: {
        const int line = Take().line;
        body.push_back(Stmt{line, PrintStmt{ParseTuple(Conditional::kAllowed)}});
        Expect(TokenType::kVariableEnd);
        break;
      }
      case TokenType::kBlockBegin:
        Take();
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return Current().IsName(end); }))
          return body;
        ParseStatement(body);
        Expect(TokenType::kBlockEnd);
        break;
      default:
        if (ends.size() > 0)
          FailHere("the template ends where '{% " + std::string(*ends.begin()) + " %}' is missing");
        return body;
    }
  }
}

Body Parser::ParseBlockBody(std::initializer_list<std::string_view> ends) {
  SkipOperator(":");
  Expect(TokenType::kBlockEnd);
  return ParseBody(ends);
}

void Parser::ParseStatement(Body& body) {
  if (Current().type != TokenType::kName) FailUnexpected("the name of a tag");
  const Token token = Take();
  const std::string& tag = token.text;
  const int line = token.line;
  if (tag == "set") {
    body.push_back(ParseSet(line));
  } else if (tag == "for") {
    body.push_back(ParseFor(line));
  } else if (tag == "if") {
    body.push_back(ParseIf(line));
  } else if (tag == "with") {
    body.push_back(ParseWith(line));
  } else if (tag == "macro") {
    body.push_back(ParseMacro(line));
  } else if (tag == "call") {
    body.push_back(ParseCallBlock(line));
  } else if (tag == "filter") {
    body.push_back(ParseFilterBlock(line));
  } else if (tag == "print") {
    ParsePrint(body);
  } else if (tag == "block" || tag == "autoescape" || tag == "generation") {
    body.push_back(ParseScopeBlock(line, tag));
  } else if (tag == "break" || tag == "continue") {
    if (loops_ == 0) FailAtLine(line, "'" + tag + "' stands outside of a loop");
    body.push_back(tag == "break" ? Stmt{line, BreakStmt{}} : Stmt{line, ContinueStmt{}});
  } else if (tag == "extends" || tag == "include" || tag == "import" || tag == "from") {
    FailAtLine(line, "'" + tag + "' loads another template, which a chat template cannot do");
  } else {
    FailAtLine(line, "unknown tag '" + tag + "'");
  }
}

void Parser::CheckAssignable(const std::string& name) const {
  for (const char* constant : {"true", "false", "none", "True", "False", "None"}) {
    if (name == constant) FailHere("cannot assign to '" + name + "'");
  }
}

std::string Parser::ParseTargetName() {
  std::string name = ExpectAnyName();
  CheckAssignable(name);
  return name;
}

Target Parser::ParseNameOrTupleTarget(std::string_view end_name) {
  const Level level(*this);
  std::vector<Target> targets;
  bool is_tuple = false;
  while (true) {
    if (!targets.empty()) ExpectOperator(",");
    if (AtTupleEnd(end_name)) break;
    if (SkipOperator("(")) {
      targets.push_back(ParseNameOrTupleTarget({}));
      ExpectOperator(")");
    } else if (Current().type == TokenType::kName && Next().IsOperator(".")) {
      const Symbol object = Intern(ExpectAnyName());
      Take();
      targets.push_back(Target{Target::Attribute{object, ExpectAnyName()}});
    } else {
      targets.push_back(Target{Target::Name{Intern(ParseTargetName())}});
    }
    if (!Current().IsOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (targets.empty()) FailUnexpected("a name to assign to");
    return std::move(targets.front());
  }
  return Target{std::move(targets)};
}

Target Parser::ParseTarget() { return ParseNameOrTupleTarget({}); }

Stmt Parser::ParseSet(int line) {
  Target target = ParseTarget();
  if (SkipOperator("=")) {
    ExprPtr value = ParseTuple(Conditional::kAllowed);
    return Stmt{line, SetStmt{std::move(target), std::move(value)}};
  }
  ExprPtr filter;
  if (Current().IsOperator("|")) filter = ParseFilterChain(nullptr, false);
  Body body = ParseBlockBody({"endset"});
  Take();
  return Stmt{line, SetBlockStmt{std::move(target), std::move(filter), std::move(body)}};
}

Stmt Parser::ParseFor(int line) {
  ForStmt loop;
  loop.target = ParseNameOrTupleTarget("in");
  ExpectName("in");
  loop.iterable = ParseTuple(Conditional::kNotAllowed, "recursive");
  if (SkipName("if")) loop.condition = ParseExpression();
  loop.recursive = SkipName("recursive");
  ++loops_;
  loop.body = ParseBlockBody({"endfor", "else"});
  --loops_;
  if (Take().text == "else") {
    loop.otherwise = ParseBlockBody({"endfor"});
    Take();
  }
  return Stmt{line, std::move(loop)};
}

Stmt Parser::ParseIf(int line) {
  IfStmt statement;
  while (true) {
    ExprPtr test = ParseTuple(Conditional::kNotAllowed);
    Body body = ParseBlockBody({"elif", "else", "endif"});
    statement.branches.push_back({std::move(test), std::move(body)});
    const std::string tag = Take().text;
    if (tag == "elif") continue;
    if (tag == "else") {
      Body otherwise = ParseBlockBody({"endif"});
      statement.branches.push_back({nullptr, std::move(otherwise)});
      Take();
    }
    return Stmt{line, std::move(statement)};
  }
}

Stmt Parser::ParseWith(int line) {
  WithStmt with;
  while (Current().type != TokenType::kBlockEnd) {
    if (!with.assignments.empty()) ExpectOperator(",");
    Target target = ParseTarget();
    ExpectOperator("=");
    ExprPtr value = ParseExpression();
    with.assignments.emplace_back(std::move(target), std::move(value));
  }
  with.body = ParseBlockBody({"endwith"});
  Take();
  return Stmt{line, std::move(with)};
}

void Parser::ParseSignature(MacroDefinition& macro) {
  ExpectOperator("(");
  bool defaults = false;
  while (!Current().IsOperator(")")) {
    if (!macro.parameters.empty()) ExpectOperator(",");
    Parameter parameter;
    parameter.name = ParseTargetName();
    parameter.symbol = Intern(parameter.name);
    if (SkipOperator("=")) {
      parameter.default_value = ParseExpression();
      defaults = true;
    } else if (defaults) {
      FailHere("a parameter without a default follows one with a default");
    }
    macro.parameters.push_back(std::move(parameter));
  }
  ExpectOperator(")");
}

std::shared_ptr<const MacroDefinition> Parser::ParseMacroBody(
    std::shared_ptr<MacroDefinition> macro, std::string_view end) {
  macros_.push_back(macro.get());
  const int loops = std::exchange(loops_, 0);
  macro->body = ParseBlockBody({end});
  loops_ = loops;
  macros_.pop_back();
  Take();
  return macro;
}

Stmt Parser::ParseMacro(int line) {
  auto macro = std::make_shared<MacroDefinition>();
  macro->name = ParseTargetName();
  const Symbol symbol = Intern(macro->name);
  ParseSignature(*macro);
  return Stmt{line, MacroStmt{symbol, ParseMacroBody(std::move(macro), "endmacro")}};
}

Stmt Parser::ParseCallBlock(int line) {
  auto caller = std::make_shared<MacroDefinition>();
  if (Current().IsOperator("(")) ParseSignature(*caller);
  ExprPtr call = ParseExpression();
  if (!std::holds_alternative<CallExpr>(call->node))
    FailAtLine(line, "a call block needs a call: {% call f() %}");
  return Stmt{line, CallStmt{ParseMacroBody(std::move(caller), "endcall"), std::move(call)}};
}

Stmt Parser::ParseFilterBlock(int line) {
  ExprPtr filter = ParseFilterChain(nullptr, true);
  Body body = ParseBlockBody({"endfilter"});
  Take();
  return Stmt{line, FilterStmt{std::move(filter), std::move(body)}};
}

Stmt Parser::ParseScopeBlock(int line, const std::string& tag) {
  std::string name;
  if (tag == "block") {
    name = ExpectAnyName();
    SkipName("scoped");
    SkipName("required");
  } else if (tag == "autoescape") {
    ParseExpression();  // chat templates are text: nothing is escaped either way
  }
  const std::string end = "end" + tag;
  const int loops = std::exchange(loops_, tag == "autoescape" ? loops_ : 0);
  Body body = ParseBlockBody({end});
  loops_ = loops;
  Take();
  if (!name.empty()) SkipName(name);
  return Stmt{line, ScopeStmt{std::move(body)}};
}

void Parser::ParsePrint(Body& body) {
  bool first = true;
  while (Current().type != TokenType::kBlockEnd) {
    if (!first) ExpectOperator(",");
    first = false;
    const int line = Line();
    body.push_back(Stmt{line, PrintStmt{ParseExpression()}});
  }
}

std::shared_ptr<const Template> ParseTemplate(std::string_view source) {
  return Parser(Tokenize(source)).Run();
}

}  // namespace millrace::jinja
