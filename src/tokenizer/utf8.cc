#include "tokenizer/utf8.h"

#include <utf8proc.h>

namespace millrace::tokenizer_internal {
namespace {

// What may follow a lead byte (Unicode 15, table 3-7).
struct Lead {
  uint8_t length;      // bytes of the character; 0: no lead byte
  uint8_t second_low;  // range of the second byte; the others are 0x80 to 0xbf
  uint8_t second_high;
};

constexpr Lead LeadOf(unsigned char byte) {
  if (byte >= 0xc2 && byte <= 0xdf) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte >= 0xe1 && byte <= 0xef) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte >= 0xf1 && byte <= 0xf3) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

bool IsWhiteSpace(uint32_t c) {
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

uint8_t ClassesOf(uint32_t code_point) {
  if (IsWhiteSpace(code_point)) return kSpace;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    default:
      return 0;
  }
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[pos + i]); };
  if (byte(0) < 0x80) return {Utf8Kind::kValid, 1, byte(0)};
  const Lead lead = LeadOf(byte(0));
  if (lead.length == 0) return {Utf8Kind::kInvalid, 1, 0};
  uint32_t code_point = byte(0) & (0x7fu >> lead.length);
  for (uint8_t i = 1; i < lead.length; ++i) {
    if (pos + i >= text.size()) return {Utf8Kind::kIncomplete, i, 0};
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xbf;
    if (byte(i) < low || byte(i) > high) return {Utf8Kind::kInvalid, i, 0};
    code_point = code_point << 6 | (byte(i) & 0x3fu);
  }
  return {Utf8Kind::kValid, lead.length, code_point};
}

bool IsUtf8(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (step.kind != Utf8Kind::kValid) return false;
    pos += step.length;
  }
  return true;
}

void AppendUtf8(uint32_t code_point, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3f));
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
}

ClassifiedChar utf8_internal::ClassifyBeyondAscii(std::string_view text, size_t pos) {
  const Utf8Step step = DecodeUtf8(text, pos);
  if (step.kind != Utf8Kind::kValid) return {0, step.length};
  return {ClassesOf(step.code_point), step.length};
}

}  // namespace millrace::tokenizer_internal
