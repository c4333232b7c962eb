// A request's passages: as its body carries them, and as the texts that a prompt has.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lab/workload.h"
#include "prompt_reduction/passage.h"

namespace millrace {

inline nlohmann::ordered_json DocumentsJson(const WorkloadRequest& request) {
  if (request.titles.empty()) return request.documents;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < request.documents.size(); ++i) {
    list.push_back({{"title", request.titles[i]}, {"text", request.documents[i]}});
  }
  return list;
}

inline std::vector<std::string> PassageTexts(const WorkloadRequest& request) {
  std::vector<std::string> texts = request.documents;
  for (size_t i = 0; i < request.titles.size(); ++i) {
    texts[i] = TitledText(request.titles[i], texts[i]);
  }
  return texts;
}

// A completion's: the passages in front of the prompt.
inline std::string PromptWithPassages(const WorkloadRequest& request) {
  std::string text;
  for (const std::string& passage : PassageTexts(request)) text += passage + "\n\n";
  return text + request.prompt;
}

}  // namespace millrace
