#include "constrained_output/regex.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "constrained_output/regex_syntax.h"

namespace millrace::constrained_internal {
namespace {

// An automaton with empty edges (Thompson 1968), some of which may be taken only where the text
// begins or ends.
class Thompson {
 public:
  static constexpr int32_t kStart = 0, kEnd = 1;

  Thompson() { states_.resize(2); }
  bool within_budget() const { return states_.size() <= CharNfa::kMaxStates; }

  int32_t NewState() {
    states_.emplace_back();
    return static_cast<int32_t>(states_.size() - 1);
  }
  void Empty(int32_t from, int32_t to) { AddEdge(from, {EdgeKind::kEmpty, {}, to}); }
  void Chars(int32_t from, int32_t to, CharSet set) {
    AddEdge(from, {EdgeKind::kChars, std::move(set), to});
  }
  void Add(int32_t from, int32_t to, const Expression& expression);
  Result<CharNfa> Finish() const;

 private:
  enum class EdgeKind { kEmpty, kBegin, kEnd, kChars };
  struct Edge {
    EdgeKind kind;
    CharSet set;
    int32_t target;
  };
  // Of a path: nothing consumed yet; something; something, and nothing more may be; nothing ever.
  enum Phase : int32_t { kAtBegin, kWithin, kAtEnd, kEmptyText };
  using Place = std::pair<int32_t, Phase>;

  void AddEdge(int32_t from, Edge edge) {
    if (within_budget()) states_[static_cast<size_t>(from)].push_back(std::move(edge));
  }
  void AddRepeat(int32_t from, int32_t to, const Expression& repeat);
  std::vector<Place> Closure(Place place) const;

  std::vector<std::vector<Edge>> states_;
};

void Thompson::Add(int32_t from, int32_t to, const Expression& expression) {
  if (!within_budget()) return;
  switch (expression.kind) {
    case Expression::Kind::kChars:
      return Chars(from, to, expression.set);
    case Expression::Kind::kBegin:
      return AddEdge(from, {EdgeKind::kBegin, {}, to});
    case Expression::Kind::kEnd:
      return AddEdge(from, {EdgeKind::kEnd, {}, to});
    case Expression::Kind::kAlternatives:
      for (const Expression& part : expression.parts) Add(from, to, part);
      return;
    case Expression::Kind::kRepeat:
      return AddRepeat(from, to, expression);
    case Expression::Kind::kSequence:
    case Expression::Kind::kRule:
      break;
  }
  for (const Expression& part : expression.parts) {
    const int32_t next = NewState();
    Add(from, next, part);
    from = next;
  }
  Empty(from, to);
}

void Thompson::AddRepeat(int32_t from, int32_t to, const Expression& repeat) {
  const Expression& part = repeat.parts[0];
  const auto step = [&](int32_t at) {
    const int32_t next = NewState();
    Add(at, next, part);
    return next;
  };
  int32_t at = NewState();
  Empty(from, at);
  for (int64_t i = 0; i < repeat.least && within_budget(); ++i) at = step(at);
  if (!repeat.most) {
    const int32_t loop = NewState();
    Empty(at, loop);
    Add(loop, loop, part);
    return Empty(loop, to);
  }
  for (int64_t i = repeat.least; i < *repeat.most && within_budget(); ++i) {
    Empty(at, to);
    at = step(at);
  }
  Empty(at, to);
}

std::vector<Thompson::Place> Thompson::Closure(Place place) const {
  std::vector<Place> reached = {place};
  std::map<Place, bool> seen = {{place, true}};
  for (size_t i = 0; i < reached.size(); ++i) {
    const auto [state, phase] = reached[i];
    for (const Edge& edge : states_[static_cast<size_t>(state)]) {
      Phase next = phase;
      if (edge.kind == EdgeKind::kChars) continue;
      const bool at_begin = phase == kAtBegin || phase == kEmptyText;
      if (edge.kind == EdgeKind::kBegin && !at_begin) continue;
      if (edge.kind == EdgeKind::kEnd) next = at_begin ? kEmptyText : kAtEnd;
      if (seen.emplace(Place{edge.target, next}, true).second) {
        reached.emplace_back(edge.target, next);
      }
    }
  }
  return reached;
}

Result<CharNfa> Thompson::Finish() const {
  const Error too_large{
      fmt::format("The regular expression is too large: it needs more than {} states or {} edges; "
                  "use shorter bounds of repetition or fewer alternatives.",
                  CharNfa::kMaxStates, CharNfa::kMaxEdges),
      ErrorKind::kUnsupported};
  if (!within_budget()) return too_large;
  CharNfa nfa;
  std::map<Place, int32_t> known;
  std::vector<Place> places;
  const auto intern = [&](Place place) {
    const auto [at, is_new] = known.emplace(place, static_cast<int32_t>(places.size()));
    if (is_new) {
      places.push_back(place);
      nfa.states.emplace_back();
    }
    return at->second;
  };
  intern({kStart, kAtBegin});
  size_t work = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    const std::vector<Place> closure = Closure(places[i]);
    for (const auto& [state, phase] : closure) {
      if (state == kEnd) nfa.states[i].accepts = true;
      if (phase == kAtEnd || phase == kEmptyText) continue;
      for (const Edge& edge : states_[static_cast<size_t>(state)]) {
        if (edge.kind != EdgeKind::kChars || edge.set.empty()) continue;
        const int32_t target = intern({edge.target, kWithin});
        nfa.states[i].edges.push_back({edge.set, target});
        ++work;
      }
    }
    work += closure.size();
    if (work > CharNfa::kMaxEdges || nfa.states.size() > CharNfa::kMaxStates) return too_large;
  }
  return nfa;
}

}  // namespace

Result<CharNfa> ParseRegex(std::string_view pattern, RegexMatch match) {
  ASSIGN_OR_RETURN(const Expression expression, ParseRegexSyntax(pattern));
  Thompson thompson;
  int32_t from = Thompson::kStart, to = Thompson::kEnd;
  if (match == RegexMatch::kSearch) {
    from = thompson.NewState();
    to = thompson.NewState();
    thompson.Empty(Thompson::kStart, from);
    thompson.Chars(from, from, CharSet::All());
    thompson.Chars(to, to, CharSet::All());
    thompson.Empty(to, Thompson::kEnd);
  }
  thompson.Add(from, to, expression);
  return thompson.Finish();
}

Result<Nfa> CompileRegex(std::string_view pattern) {
  ASSIGN_OR_RETURN(const CharNfa chars, ParseRegex(pattern, RegexMatch::kWhole));
  NfaBuilder builder;
  const NfaBuilder::Rule root = builder.NewRule("pattern");
  CharNfaWriter(builder).Write(chars, Spelling::kText, builder.start(root), builder.end(root));
  return builder.Build(root);
}

}  // namespace millrace::constrained_internal
