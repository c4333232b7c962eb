// The switches that an ablation turns, as a table: a new optimisation joins with one line.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace millrace {

// What a switch may change about greedy answers.
enum class AnswerEffect {
  kNone,       // the same tokens both ways, bit for bit: a difference is a fault
  kPrecision,  // the same prompt, computed a little differently: what KL divergence can judge
  kPrompt      // another prompt: only expected answers can judge it
};

struct LabSwitch {
  const char* name;  // "prefix reuse"
  const char* flag;  // "prefix-cache": --prefix-cache ON, and the key in serve's TOML
  const char* on;
  const char* off;
  const char* served;  // what serve does by itself: `on` or `off`
  AnswerEffect answers;
};

std::span<const LabSwitch> LabSwitches();

// One way to run the server: which switches are on, and which model.
struct LabConfiguration {
  std::string name;  // unique within an ablation
  std::vector<bool> on;
  std::string model;            // a file; empty: the one that is measured
  double handicap_percent = 0;  // stopped now and then, so that all takes so much longer
};

// The switches that an ablation turns: pointers into LabSwitches.
using SwitchList = std::vector<const LabSwitch*>;

// "--prefix-cache", "on", ... for the switches of `list`.
std::vector<std::string> FlagsOf(const LabConfiguration& configuration, const SwitchList& list);
// A TOML file for `millrace --config FILE serve`. `comment` becomes comment lines.
std::string TomlOf(const LabConfiguration& configuration, const SwitchList& list,
                   const std::string& model, const std::string& comment);
// How many switches differ from what serve does by itself: fewer is simpler.
int DistanceFromServed(const LabConfiguration& configuration, const SwitchList& list);
// The most that the switches which differ between the two, and their models, may change.
AnswerEffect AnswerEffectBetween(const LabConfiguration& a, const LabConfiguration& b,
                                 const SwitchList& list);

}  // namespace millrace
