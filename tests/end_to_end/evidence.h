// Questions over numbered passages of invented facts, in the form that the embedded demo model was
// trained on (models/corpus.py): every name is drawn at random, so an answer can only come from the
// passages.
#pragma once

#include <cstdint>
#include <string>

namespace millrace {

struct EvidenceQuestion {
  std::string system;    // the instruction and the numbered passages
  std::string question;  // about one of them
  std::string answer;    // to the letter
};

// The same arguments give the same question on every machine. 1 <= passages <= 8.
EvidenceQuestion MakeEvidenceQuestion(uint64_t seed, int passages);

}  // namespace millrace
