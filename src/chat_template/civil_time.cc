#include "chat_template/civil_time.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

namespace millrace {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};

std::chrono::sys_days DaysOf(const CivilTime& t) {
  return std::chrono::year(t.year) / std::chrono::month(static_cast<unsigned>(t.month)) /
         std::chrono::day(static_cast<unsigned>(t.day));
}

int WeekdayOf(const CivilTime& t) {  // 0 is Sunday
  return static_cast<int>(std::chrono::weekday(DaysOf(t)).c_encoding());
}

int DayOfYear(const CivilTime& t) {  // 1 to 366
  CivilTime first = t;
  first.month = first.day = 1;
  return static_cast<int>((DaysOf(t) - DaysOf(first)).count()) + 1;
}

// ISO 8601: weeks begin on Monday, week 1 holds the year's first Thursday.
struct IsoWeek {
  int year;
  int week;
};
IsoWeek IsoWeekOf(const CivilTime& t) {
  const int weekday = (WeekdayOf(t) + 6) % 7;  // 0 is Monday
  const std::chrono::year_month_day thursday(DaysOf(t) + std::chrono::days(3 - weekday));
  CivilTime at;
  at.year = static_cast<int>(thursday.year());
  at.month = static_cast<int>(static_cast<unsigned>(thursday.month()));
  at.day = static_cast<int>(static_cast<unsigned>(thursday.day()));
  return {at.year, (DayOfYear(at) - 1) / 7 + 1};
}

void AppendNumber(int value, int width, char pad, bool padded, std::string& out) {
  char buffer[24];
  std::snprintf(buffer, sizeof buffer,
                !padded      ? "%d"
                : pad == '0' ? "%0*d"
                             : "%*d",
                padded ? width : value, value);
  out += buffer;
}

void AppendDirective(const CivilTime& t, char directive, bool padded, std::string& out) {
  const auto number = [&](int value, int width, char pad = '0') {
    AppendNumber(value, width, pad, padded, out);
  };
  const auto sub = [&](std::string_view format) { out += FormatTime(t, format); };
  const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
  const std::string_view day = kDays[static_cast<size_t>(WeekdayOf(t))];
  const std::string_view month = kMonths[static_cast<size_t>(t.month - 1)];
  switch (directive) {
    case 'a':
      out += day.substr(0, 3);
      return;
    case 'A':
      out += day;
      return;
    case 'b':
    case 'h':
      out += month.substr(0, 3);
      return;
    case 'B':
      out += month;
      return;
    case 'c':
      sub("%a %b %e %H:%M:%S %Y");
      return;
    case 'C':
      number(t.year / 100, 2);
      return;
    case 'd':
      number(t.day, 2);
      return;
    case 'D':
      sub("%m/%d/%y");
      return;
    case 'e':
      number(t.day, 2, ' ');
      return;
    case 'f':
      AppendNumber(t.microsecond, 6, '0', true, out);
      return;
    case 'F':
      sub("%Y-%m-%d");
      return;
    case 'g':
      number(IsoWeekOf(t).year % 100, 2);
      return;
    case 'G':
      number(IsoWeekOf(t).year, 4);
      return;
    case 'H':
      number(t.hour, 2);
      return;
    case 'I':
      number(hour12, 2);
      return;
    case 'j':
      number(DayOfYear(t), 3);
      return;
    case 'k':
      number(t.hour, 2, ' ');
      return;
    case 'l':
      number(hour12, 2, ' ');
      return;
    case 'm':
      number(t.month, 2);
      return;
    case 'M':
      number(t.minute, 2);
      return;
    case 'n':
      out += '\n';
      return;
    case 'p':
      out += t.hour < 12 ? "AM" : "PM";
      return;
    case 'P':
      out += t.hour < 12 ? "am" : "pm";
      return;
    case 'r':
      sub("%I:%M:%S %p");
      return;
    case 'R':
      sub("%H:%M");
      return;
    case 'S':
      number(t.second, 2);
      return;
    case 't':
      out += '\t';
      return;
    case 'T':
    case 'X':
      sub("%H:%M:%S");
      return;
    case 'u':
      number(WeekdayOf(t) == 0 ? 7 : WeekdayOf(t), 1);
      return;
    case 'U':
      number((DayOfYear(t) + 6 - WeekdayOf(t)) / 7, 2);
      return;
    case 'V':
      number(IsoWeekOf(t).week, 2);
      return;
    case 'w':
      number(WeekdayOf(t), 1);
      return;
    case 'W':
      number((DayOfYear(t) + 6 - (WeekdayOf(t) + 6) % 7) / 7, 2);
      return;
    case 'x':
      sub("%m/%d/%y");
      return;
    case 'y':
      number(t.year % 100, 2);
      return;
    case 'Y':
      number(t.year, 1);
      return;
    case 'z':
    case 'Z':
      return;  // no zone
    case '%':
      out += '%';
      return;
    default:
      out += '%';
      if (!padded) out += '-';
      out += directive;
  }
}

bool ParseNumber(std::string_view text, size_t position, size_t digits, int& out) {
  if (position + digits > text.size()) return false;
  const char* begin = text.data() + position;
  const auto result = std::from_chars(begin, begin + digits, out);
  return result.ec == std::errc() && result.ptr == begin + digits && out >= 0;
}

}  // namespace

std::optional<CivilTime> ParseCivilTime(std::string_view text) {
  CivilTime t;
  const bool date = text.size() >= 10 && text[4] == '-' && text[7] == '-' &&
                    ParseNumber(text, 0, 4, t.year) && ParseNumber(text, 5, 2, t.month) &&
                    ParseNumber(text, 8, 2, t.day);
  if (!date) return std::nullopt;
  const std::chrono::year_month_day valid(std::chrono::year(t.year),
                                          std::chrono::month(static_cast<unsigned>(t.month)),
                                          std::chrono::day(static_cast<unsigned>(t.day)));
  if (!valid.ok() || t.year < 1) return std::nullopt;
  if (text.size() == 10) return t;
  const bool time = text.size() == 19 && (text[10] == 'T' || text[10] == ' ') && text[13] == ':' &&
                    text[16] == ':' && ParseNumber(text, 11, 2, t.hour) &&
                    ParseNumber(text, 14, 2, t.minute) && ParseNumber(text, 17, 2, t.second);
  if (!time || t.hour > 23 || t.minute > 59 || t.second > 59) return std::nullopt;
  return t;
}

std::string FormatTime(const CivilTime& time, std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    const bool padded = format[i + 1] != '-';
    if (!padded && i + 2 >= format.size()) {
      out += format[i];
      continue;
    }
    i += padded ? 1 : 2;
    AppendDirective(time, format[i], padded, out);
  }
  return out;
}

}  // namespace millrace
