#include "conversion/type_mix.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "quantization/quantize.h"

namespace millrace {
namespace {

// The numbers are those of general.file_type in GGUF files.
constexpr FileTypeInfo kFileTypes[] = {
    {FileType::kF32, "F32", DType::kF32, 0},
    {FileType::kF16, "F16", DType::kF16, 1},
    {FileType::kBF16, "BF16", DType::kBF16, 32},
    {FileType::kQ8_0, "Q8_0", DType::kQ8_0, 7},
    {FileType::kQ6_K, "Q6_K", DType::kQ6_K, 18},
    {FileType::kQ5_K_M, "Q5_K_M", DType::kQ5_K, 17},
    {FileType::kQ5_K_S, "Q5_K_S", DType::kQ5_K, 16},
    {FileType::kQ4_K_M, "Q4_K_M", DType::kQ4_K, 15},
    {FileType::kQ4_K_S, "Q4_K_S", DType::kQ4_K, 14},
    {FileType::kQ4_0, "Q4_0", DType::kQ4_0, 2},
    {FileType::kIQ4_NL, "IQ4_NL", DType::kIQ4_NL, 25},
    {FileType::kIQ4_XS, "IQ4_XS", DType::kIQ4_XS, 30},
    {FileType::kQ3_K_M, "Q3_K_M", DType::kQ3_K, 12},
    {FileType::kQ2_K, "Q2_K", DType::kQ2_K, 10},
    {FileType::kMXFP4, "MXFP4", DType::kMXFP4, 38},
};

// The N of "blk.N.".
std::optional<int32_t> LayerOf(std::string_view name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  int32_t layer = 0;
  const char* const begin = name.data() + 4;
  if (std::from_chars(begin, name.data() + name.size(), layer).ec != std::errc()) {
    return std::nullopt;
  }
  return layer;
}

bool HasMoreBits(int32_t layer, int32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

struct Place {
  int32_t layer;
  int32_t layers;
  bool shares_heads;  // at least four query heads to one of keys and values
  bool has_importance;
};

DType AttentionValueType(const FileTypeInfo& file, const Place& p) {
  switch (file.type) {
    case FileType::kQ2_K:
      return p.shares_heads ? DType::kQ4_K : DType::kQ3_K;
    case FileType::kQ3_K_M:
      return p.layer < 2 ? DType::kQ5_K : DType::kQ4_K;
    case FileType::kIQ4_NL:
    case FileType::kIQ4_XS:
      return p.shares_heads ? DType::kQ5_K : file.base;
    case FileType::kQ4_K_M:
    case FileType::kQ5_K_M:
      return HasMoreBits(p.layer, p.layers) ? DType::kQ6_K : file.base;
    case FileType::kQ4_K_S:
      return p.layer < 4 ? DType::kQ5_K : file.base;
    default:
      return file.base;
  }
}

DType DownType(const FileTypeInfo& file, const Place& p) {
  const bool early = p.layer < p.layers / 8;
  switch (file.type) {
    case FileType::kQ2_K:
      return DType::kQ3_K;
    case FileType::kQ3_K_M:
      return p.layer < p.layers / 16 ? DType::kQ5_K : DType::kQ4_K;
    case FileType::kQ4_K_M:
    case FileType::kQ5_K_M:
      return HasMoreBits(p.layer, p.layers) ? DType::kQ6_K : file.base;
    case FileType::kQ4_K_S:
      return early ? DType::kQ5_K : file.base;
    case FileType::kIQ4_NL:
    case FileType::kIQ4_XS:
      return early && !p.has_importance ? DType::kQ5_K : file.base;
    case FileType::kQ4_0:
      return early && p.has_importance ? DType::kQ4_1 : file.base;
    default:
      return file.base;
  }
}

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

DType MixType(const FileTypeInfo& file, const SourceTensor& t, const Place& place, bool tied) {
  if (IsFloat(file.base)) return file.base;
  const std::string_view name = t.name;
  if (name == "output.weight" || (tied && name == "token_embd.weight")) {
    if (file.type == FileType::kMXFP4 || file.base == DType::kQ8_0) return DType::kQ8_0;
    return t.row_length() % InfoOf(file.base).block_elements != 0 ? DType::kQ8_0 : DType::kQ6_K;
  }
  if (name.ends_with("attn_v.weight")) return AttentionValueType(file, place);
  if (name.ends_with("ffn_down.weight")) return DownType(file, place);
  if (name.ends_with("attn_output.weight")) {
    if (file.type == FileType::kQ2_K) return DType::kQ3_K;
    if (file.type == FileType::kQ3_K_M) return DType::kQ4_K;
  }
  return file.base;
}

}  // namespace

std::span<const FileTypeInfo> FileTypes() { return kFileTypes; }

Result<FileTypeInfo> ParseFileType(std::string_view name) {
  std::string known;
  for (const FileTypeInfo& info : kFileTypes) {
    const bool medium =
        info.name.ends_with("_M") && info.name.substr(0, info.name.size() - 2) == name;
    if (info.name == name || medium) return info;
    known += (known.empty() ? "" : ", ") + std::string(info.name);
  }
  return Error{"unknown type '" + std::string(name) + "': choose one of " + known};
}

Result<TensorRule> ParseTensorRule(std::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Error{"'" + std::string(text) +
                 "' is no rule: write PATTERN=TYPE, such as ffn_down=Q6_K"};
  }
  const auto info = FindDTypeByName(text.substr(equals + 1));
  if (!info || !CanQuantize(info->type)) {
    return Error{"'" + std::string(text.substr(equals + 1)) +
                 "' is no type that a tensor can be given: use F32, F16, BF16, Q8_0, Q6_K, Q5_K, "
                 "Q5_1, Q5_0, Q4_K, Q4_1, Q4_0, IQ4_NL, IQ4_XS, MXFP4, Q3_K or Q2_K"};
  }
  return TensorRule{std::string(text.substr(0, equals)), info->type};
}

bool Matches(std::string_view pattern, std::string_view name) {
  if (pattern.find_first_of("*?") == std::string_view::npos) {
    return name.find(pattern) != std::string_view::npos;
  }
  // Greedy with one point to come back to: the last star.
  size_t p = 0, n = 0, star = std::string_view::npos, star_n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_n = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_n;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool IsQuantizable(const SourceTensor& tensor) {
  const std::string_view name = tensor.name;
  // An encoder's: small, and added up once.
  if (name == "position_embd.weight" || name == "token_types.weight") return false;
  return tensor.shape.size() >= 2 && tensor.rows() > 1 && name.ends_with("weight") &&
         name.find("_norm.weight") == std::string_view::npos &&
         name.find("ffn_gate_inp.weight") == std::string_view::npos;
}

DType FittingType(DType wanted, int64_t row_length) {
  const auto fits = [&](DType t) { return row_length % InfoOf(t).block_elements == 0; };
  if (fits(wanted)) return wanted;
  DType next = DType::kF16;
  switch (wanted) {
    case DType::kIQ4_XS:
      next = DType::kIQ4_NL;
      break;
    case DType::kQ2_K:
    case DType::kQ3_K:
      next = DType::kQ4_0;
      break;
    case DType::kQ4_K:
      next = DType::kQ5_0;
      break;
    case DType::kQ5_K:
      next = DType::kQ5_1;
      break;
    case DType::kQ6_K:
      next = DType::kQ8_0;
      break;
    default:
      break;
  }
  return fits(next) ? next : DType::kF16;
}

Result<std::vector<DType>> ChooseTypes(const ModelSource& source, const FileTypeInfo& file_type,
                                       std::span<const TensorRule> rules, bool has_importance) {
  std::vector<DType> types;
  std::vector<bool> used(rules.size(), false);
  const bool tied = source.tied();
  for (const SourceTensor& t : source.tensors) {
    if (!IsQuantizable(t)) {
      // Vectors stay floats: halves would lose more than they save.
      types.push_back(t.type == DType::kF16 || t.type == DType::kBF16 ? DType::kF32 : t.type);
      continue;
    }
    const Place place = {LayerOf(t.name).value_or(0), source.layers,
                         source.heads / source.kv_heads >= 4, has_importance};
    DType type = FittingType(MixType(file_type, t, place, tied), t.row_length());
    for (size_t i = 0; i < rules.size(); ++i) {
      if (!Matches(rules[i].pattern, t.name)) continue;
      if (t.row_length() % InfoOf(rules[i].type).block_elements != 0) {
        return Error{"tensor '" + t.name + "' has rows of " + std::to_string(t.row_length()) +
                     " elements, which " + std::string(NameOf(rules[i].type)) +
                     " cannot hold: choose a type with blocks of 32 or fewer"};
      }
      type = rules[i].type;
      used[i] = true;
    }
    types.push_back(type);
  }
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!used[i]) {
      return Error{"no tensor matches '" + rules[i].pattern +
                   "': `millrace inspect --tensors` lists the names"};
    }
  }
  return types;
}

}  // namespace millrace
