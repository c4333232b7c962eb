#include "gguf/byte_cursor.h"

#include <fmt/format.h>

#include <limits>

namespace millrace::gguf_internal {

std::string Quoted(std::string_view name) {
  constexpr size_t kShown = 80;
  std::string out = "'";
  for (char c : name.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  if (name.size() > kShown) out += "...";
  return out + "'";
}

std::string Field::ToString() const {
  std::string out(what);
  if (!name.empty()) out += " " + Quoted(name);
  if (index) out += " " + std::to_string(*index);
  return out;
}

Error ByteCursor::Damaged(const Field& field, size_t offset, std::string_view problem) const {
  return Error{
      fmt::format("{}: {} at byte offset {} {}.", *file_, field.ToString(), offset, problem)};
}

Error ByteCursor::CutOff(const Field& field, uint64_t needed) const {
  return Damaged(field, offset_,
                 fmt::format("needs {} bytes, but only {} are left of the file's {}; the file is "
                             "cut off or damaged, download it again",
                             needed, left(), bytes_.size()));
}

Result<std::string_view> ByteCursor::ReadString(const Field& field, uint64_t least, uint64_t most) {
  const size_t start = offset_;
  ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>(field));
  std::optional<Error> error;
  if (length > left()) {
    error = CutOff(field, length);
  } else if (length < least || length > most) {
    error = Damaged(field, start,
                    most == std::numeric_limits<uint64_t>::max()
                        ? fmt::format("is {} bytes long, but must have at least {}", length, least)
                        : fmt::format("is {} bytes long, but must have {} to {}; the file is "
                                      "damaged, download it again",
                                      length, least, most));
  }
  if (error) {
    offset_ = start;
    return *error;
  }
  const auto* text = reinterpret_cast<const char*>(bytes_.data() + offset_);
  offset_ += length;
  return std::string_view(text, length);
}

Result<uint64_t> ByteCursor::ReadCount(const Field& field, uint64_t element_bytes, uint64_t most) {
  const size_t start = offset_;
  ASSIGN_OR_RETURN(const uint64_t count, Read<uint64_t>(field));
  if (count <= most && count <= left() / element_bytes) return count;
  const size_t bytes_left = left();
  offset_ = start;
  if (count > bytes_left / element_bytes) {
    return Damaged(field, start,
                   fmt::format("is {}, but the {} bytes left of the file hold at most {}; the file "
                               "is cut off or damaged, download it again",
                               count, bytes_left, bytes_left / element_bytes));
  }
  return Damaged(field, start, fmt::format("is {}, but Millrace reads at most {}", count, most));
}

}  // namespace millrace::gguf_internal
