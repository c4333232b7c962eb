// Any bytes as an answer in any format, cut anywhere: the parts do not depend on the cuts, nothing
// is lost where nothing is read, and the arguments of calls between tags are the beginnings of JSON
// objects. The first byte chooses the format and what is read, the second where to cut.
#include <cstdint>
#include <memory>
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
  reading.format = static_cast<ToolFormat>(data[0] % 8 % 7);
  if ((data[0] & 8) != 0) reading.reasoning = ThinkMarkers();
  reading.in_reasoning = (data[0] & 16) != 0;
  if ((data[0] & 32) != 0) reading.functions = {"f", "g"};
  auto types = std::make_shared<FunctionTypes>();
  (*types)["f"] = ArgumentTypes::Of(R"({"properties": {"s": {"type": "string"}}})");
  reading.types = types;
  const auto parts = ReadAll(reading, text, text.size() + 1);
  CHECK(ReadAll(reading, text, 1 + data[1] % 16) == parts);
  if (!reading.reads_anything()) {
    std::string all;
    for (const AnswerPart& part : parts) all += part.text;
    CHECK(all == text);
  }
  if (reading.format != ToolFormat::kQwenCoder && reading.format != ToolFormat::kGlm) return 0;
  if (text.find('{') != std::string_view::npos) return 0;  // an object as others write it
  for (const AnswerPart& part : parts) {  // what is told of a call between tags begins an object
    if (part.kind != AnswerPart::Kind::kArguments) continue;
    JsonCursor cursor;
    for (const char c : part.text) CHECK(cursor.Take(c) != JsonCursor::Step::kWrong);
  }
  return 0;
}
