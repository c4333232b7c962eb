// Case as str.upper, str.lower, str.title and their kin have it: Unicode's mappings, and the
// special ones that are more than one code point.
#include "chat_template/text.h"
#include "chat_template/text_internal.h"

namespace millrace::jinja {
namespace {

// Upper-case mappings that are more than one code point (SpecialCasing.txt of Unicode), those a
// text may meet.
std::string_view SpecialUpper(char32_t c) {
  switch (c) {
    case 0x00DF:
      return "SS";
    case 0x0149:
      return "\xCA\xBCN";
    case 0x01F0:
      return "J\xCC\x8C";
    case 0x0587:
      return "\xD4\xB5\xD5\x92";
    case 0xFB00:
      return "FF";
    case 0xFB01:
      return "FI";
    case 0xFB02:
      return "FL";
    case 0xFB03:
      return "FFI";
    case 0xFB04:
      return "FFL";
    case 0xFB05:
    case 0xFB06:
      return "ST";
    default:
      return {};
  }
}

std::string_view SpecialTitle(char32_t c) {
  switch (c) {
    case 0x00DF:
      return "Ss";
    case 0x0149:
      return "\xCA\xBCN";
    case 0x01F0:
      return "J\xCC\x8C";
    case 0x0587:
      return "\xD4\xB5\xD6\x82";
    case 0xFB00:
      return "Ff";
    case 0xFB01:
      return "Fi";
    case 0xFB02:
      return "Fl";
    case 0xFB03:
      return "Ffi";
    case 0xFB04:
      return "Ffl";
    case 0xFB05:
    case 0xFB06:
      return "St";
    default:
      return {};
  }
}

bool IsCased(char32_t c) {
  const utf8proc_category_t category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

bool IsCaseIgnorable(char32_t c) {
  if (c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xAD || c == 0x2019)
    return true;
  const utf8proc_category_t category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
         category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
         category == UTF8PROC_CATEGORY_SK;
}

// The rule for a capital sigma at the end of a word (Unicode 3.13, Final_Sigma).
bool IsFinalSigma(std::string_view text, size_t position) {
  size_t before = position;
  bool cased_before = false;
  while (before > 0) {
    do {
      --before;
    } while (before > 0 && IsContinuation(static_cast<unsigned char>(text[before])));
    const char32_t c = Decode(text, before).value;
    if (IsCaseIgnorable(c)) continue;
    cased_before = IsCased(c);
    break;
  }
  if (!cased_before) return false;
  for (size_t after = position + 2; after < text.size();) {
    const CodePoint c = Decode(text, after);
    if (!IsCaseIgnorable(c.value)) return !IsCased(c.value);
    after += c.bytes;
  }
  return true;
}

enum class Case { kUpper, kLower, kTitle };

void AppendCased(std::string_view text, size_t position, CodePoint c, Case wanted,
                 std::string& out) {
  if (c.value < 0x80) {
    const char byte = text[position];
    const bool lower = byte >= 'a' && byte <= 'z';
    const bool upper = byte >= 'A' && byte <= 'Z';
    if (wanted == Case::kLower) {
      out += upper ? static_cast<char>(byte + 32) : byte;
    } else {
      out += lower ? static_cast<char>(byte - 32) : byte;
    }
    return;
  }
  if (c.value == kReplacement) {
    out.append(text.substr(position, c.bytes));
    return;
  }
  const auto code = static_cast<utf8proc_int32_t>(c.value);
  if (wanted == Case::kLower) {
    if (c.value == 0x130) {
      out += "i\xCC\x87";
    } else if (c.value == 0x3A3) {
      out += IsFinalSigma(text, position) ? "\xCF\x82" : "\xCF\x83";
    } else {
      AppendUtf8(static_cast<char32_t>(utf8proc_tolower(code)), out);
    }
    return;
  }
  const std::string_view special =
      wanted == Case::kUpper ? SpecialUpper(c.value) : SpecialTitle(c.value);
  if (!special.empty()) {
    out += special;
  } else {
    AppendUtf8(static_cast<char32_t>(wanted == Case::kUpper ? utf8proc_toupper(code)
                                                            : utf8proc_totitle(code)),
               out);
  }
}

std::string MapCase(std::string_view text, Case wanted) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    AppendCased(text, i, c, wanted, out);
    i += c.bytes;
  }
  return out;
}

}  // namespace

std::string ToUpper(std::string_view text) { return MapCase(text, Case::kUpper); }
std::string ToLower(std::string_view text) { return MapCase(text, Case::kLower); }

std::string ToTitle(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    AppendCased(text, i, c, after_letter ? Case::kLower : Case::kTitle, out);
    after_letter = IsCased(c.value);
    i += c.bytes;
  }
  return out;
}

std::string ToTitleFirst(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  const CodePoint first = Decode(text, 0);
  AppendCased(text, 0, first, Case::kTitle, out);
  out += text.substr(first.bytes);
  return out;
}

std::string Capitalize(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    AppendCased(text, i, c, i == 0 ? Case::kTitle : Case::kLower, out);
    i += c.bytes;
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    AppendCased(text, i, c, IsUpper(c.value) ? Case::kLower : Case::kUpper, out);
    i += c.bytes;
  }
  return out;
}

std::string CaseFold(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (c.value == 0x3C2) {
      out += "\xCF\x83";
    } else if (!SpecialUpper(c.value).empty()) {
      out += ToLower(SpecialUpper(c.value));
    } else if (c.value == 0x3A3) {
      out += "\xCF\x83";
    } else {
      AppendCased(text, i, c, Case::kLower, out);
    }
    i += c.bytes;
  }
  return out;
}

namespace {
// Whether the letters with a case all satisfy `wanted`, and there is one.
bool AllCased(std::string_view text, bool (*wanted)(char32_t)) {
  bool some = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (wanted(c.value)) {
      some = true;
    } else if (IsCased(c.value)) {
      return false;
    }
    i += c.bytes;
  }
  return some;
}
}  // namespace

bool IsUpperText(std::string_view text) { return AllCased(text, IsUpper); }
bool IsLowerText(std::string_view text) { return AllCased(text, IsLower); }

}  // namespace millrace::jinja
