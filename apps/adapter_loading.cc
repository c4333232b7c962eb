#include "adapter_loading.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gguf/gguf.h"
#include "prefix_cache/disk_tier.h"

namespace millrace {

Result<AdapterArgument> ParseAdapterArgument(std::string_view argument) {
  const size_t at = argument.find('=');
  if (at == 0 || at == std::string_view::npos || at + 1 == argument.size()) {
    return Error{fmt::format("--lora {}: say NAME=FILE or NAME=FILE:SCALE", argument)};
  }
  AdapterArgument parsed{.name = std::string(argument.substr(0, at)),
                         .file = std::string(argument.substr(at + 1))};
  const size_t colon = parsed.file.rfind(':');
  if (colon == std::string::npos || colon == 0) return parsed;
  const char* first = parsed.file.data() + colon + 1;
  const char* last = parsed.file.data() + parsed.file.size();
  float scale = 0.0f;
  const auto [end, error] = std::from_chars(first, last, scale);
  if (end != last || first == last) return parsed;  // the colon is the file name's
  if (error != std::errc() || !std::isfinite(scale)) {
    return Error{fmt::format("--lora {}: the scale must be a finite number", argument)};
  }
  parsed.scale = scale;
  parsed.file.resize(colon);
  return parsed;
}

bool IsAdapter(const GgufFile& file) {
  const auto type = file.FindString("general.type");
  return type.ok() && type->value_or("") == "adapter";
}

Result<uint64_t> AdapterBytes(const std::vector<std::string>& arguments) {
  uint64_t bytes = 0;
  for (const std::string& argument : arguments) {
    ASSIGN_OR_RETURN(const AdapterArgument adapter, ParseAdapterArgument(argument));
    ASSIGN_OR_RETURN(const MappedGguf mapped, MappedGguf::Open(adapter.file));
    for (const GgufTensor& tensor : mapped.file().tensors()) {
      const bool is_float =
          tensor.type == DType::kF32 || tensor.type == DType::kF16 || tensor.type == DType::kBF16;
      // Other types are turned into F32.
      bytes += is_float ? tensor.data.size() : 4 * static_cast<uint64_t>(tensor.elements());
    }
  }
  return bytes;
}

Status AddAdapters(const std::vector<std::string>& arguments, Transformer& model) {
  for (const std::string& argument : arguments) {
    ASSIGN_OR_RETURN(const AdapterArgument adapter, ParseAdapterArgument(argument));
    const auto& known = model.info().adapters;
    if (std::any_of(known.begin(), known.end(),
                    [&](const AdapterInfo& a) { return a.name == adapter.name; })) {
      return Error{fmt::format("--lora {}: the name '{}' is given twice", argument, adapter.name)};
    }
    ASSIGN_OR_RETURN(const MappedGguf mapped, MappedGguf::Open(adapter.file));
    std::string identity = fmt::format("file {} of {} bytes, scale {}", ChecksumOf(mapped.bytes()),
                                       mapped.bytes().size(), adapter.scale);
    RETURN_IF_ERROR(
        model.AddAdapter({adapter.name, std::move(identity)}, mapped.file(), adapter.scale));
  }
  return {};
}

}  // namespace millrace
