// CivilTime: a date and a time of day, and strftime over it. The caller reads the clock; nothing
// here does.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace {

struct CivilTime {
  int year = 1970;
  int month = 1;  // 1 to 12
  int day = 1;    // 1 to 31
  int hour = 0;
  int minute = 0;
  int second = 0;
  int microsecond = 0;
};

// "2026-11-23", optionally followed by "T12:34:56" or " 12:34:56"; nothing when it is no such date.
std::optional<CivilTime> ParseCivilTime(std::string_view text);

// Python's datetime.strftime in the C locale, for a time without a zone. An unknown directive stays
// as it is.
std::string FormatTime(const CivilTime& time, std::string_view format);

}  // namespace millrace
