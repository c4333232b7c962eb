// Any bytes as an answer in any format, cut anywhere: the parts do not depend on the cuts, nothing
// is lost where nothing is read, and arguments of whole calls are JSON objects. The first byte
// chooses the format and what is read, the second where to cut.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "answer_parts/answer_reader.h"
#include "base/check.h"

namespace {

using namespace millrace;

std::vector<AnswerPart> ReadAll(const AnswerReading& reading, std::string_view text, size_t step) {
  AnswerReader reader(reading);
  std::vector<AnswerPart> joined;
  const auto add = [&](std::vector<AnswerPart> parts) {
    for (AnswerPart& part : parts) {
      CHECK(!part.text.empty() || part.kind == AnswerPart::Kind::kCall);
      const bool goes_on = !joined.empty() && part.kind != AnswerPart::Kind::kCall &&
                           joined.back().kind == part.kind && joined.back().call == part.call;
      if (goes_on) {
        joined.back().text += part.text;
      } else {
        joined.push_back(std::move(part));
      }
    }
  };
  for (size_t at = 0; at < text.size(); at += step) add(reader.Take(text.substr(at, step)));
  add(reader.Finish());
  return joined;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  AnswerReading reading;
  reading.format = static_cast<ToolFormat>(data[0] % 4);
  if ((data[0] & 4) != 0) reading.reasoning = ThinkMarkers();
  reading.in_reasoning = (data[0] & 8) != 0;
  if ((data[0] & 16) != 0) reading.functions = {"f", "g"};
  if ((data[0] & 32) != 0) reading.arguments = AnswerReading::Arguments::kWhole;
  const auto parts = ReadAll(reading, text, text.size() + 1);
  CHECK(ReadAll(reading, text, 1 + data[1] % 16) == parts);
  if (!reading.reads_anything()) {
    std::string all;
    for (const AnswerPart& part : parts) all += part.text;
    CHECK(all == text);
  }
  if (reading.arguments != AnswerReading::Arguments::kWhole) return 0;
  for (const AnswerPart& part : parts) {
    if (part.kind != AnswerPart::Kind::kArguments) continue;
    std::string valid;  // bytes that are not UTF-8 stand for others: texts have none
    for (const char c : part.text) valid += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    const auto json = nlohmann::json::parse(valid, nullptr, false);
    CHECK(json.is_object() || json.is_discarded());
    CHECK(!json.is_discarded() || valid.find("\\u") != std::string::npos);  // lone surrogates
  }
  return 0;
}
