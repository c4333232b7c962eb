#include "model/pooling.h"

#include "gguf/gguf.h"

namespace millrace {

std::string_view NameOf(Pooling pooling) {
  switch (pooling) {
    case Pooling::kMean:
      return "mean";
    case Pooling::kCls:
      return "cls";
    case Pooling::kLast:
      return "last";
    case Pooling::kRank:
      break;
  }
  return "rank";
}

Result<std::optional<Pooling>> ReadPooling(const GgufFile& file, const std::string& architecture) {
  constexpr int64_t kNone = 0, kRank = 4;
  ASSIGN_OR_RETURN(const auto number, file.FindInt(architecture + ".pooling_type", kNone, kRank));
  if (!number || *number == kNone) return std::optional<Pooling>();
  return std::optional<Pooling>(static_cast<Pooling>(*number - 1));
}

}  // namespace millrace
