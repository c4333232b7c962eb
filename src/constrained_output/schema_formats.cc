#include "constrained_output/schema_formats.h"

#include <utility>

namespace millrace::constrained_internal {
namespace {

// February has its 29th in leap years only; the year 0000 is left out.
#define MILLRACE_LEAP_YEAR \
  "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define MILLRACE_DATE                                                  \
  "(?:(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)-"         \
  "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"                  \
  "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))" \
  "|" MILLRACE_LEAP_YEAR "-02-29)"
#define MILLRACE_TIME                                            \
  "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?" \
  "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define MILLRACE_LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,60}[a-zA-Z0-9])?"
#define MILLRACE_HOST MILLRACE_LABEL "(?:\\." MILLRACE_LABEL "){0,3}"
#define MILLRACE_OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define MILLRACE_HEX4 "[0-9a-fA-F]{1,4}"
#define MILLRACE_ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"

constexpr std::pair<std::string_view, std::string_view> kFormats[] = {
    {"date", "^" MILLRACE_DATE "$"},
    {"time", "^" MILLRACE_TIME "$"},
    {"date-time", "^" MILLRACE_DATE "T" MILLRACE_TIME "$"},
    {"duration",
     "^P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M)?(?:[0-9]{1,9}D)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?"
     "|[0-9]{1,9}D)(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?"
     "|[0-9]{1,9}S))?|T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?"
     "|[0-9]{1,9}S))$"},
    {"email", "^" MILLRACE_ATOM "(?:\\." MILLRACE_ATOM "){0,2}@" MILLRACE_LABEL
              "(?:\\." MILLRACE_LABEL "){1,3}$"},
    {"hostname", "^" MILLRACE_HOST "$"},
    {"ipv4", "^" MILLRACE_OCTET "(?:\\." MILLRACE_OCTET "){3}$"},
    {"ipv6", "^(?:(?:" MILLRACE_HEX4 ":){7}" MILLRACE_HEX4 "|(?:" MILLRACE_HEX4
             ":){1,6}:" MILLRACE_HEX4 "|::(?:" MILLRACE_HEX4 ":){0,6}" MILLRACE_HEX4 "|::)$"},
    {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
    {"uri", "^[a-z][a-z0-9+.-]{1,15}://" MILLRACE_HOST
            "(?::[0-9]{1,4})?(?:/[a-zA-Z0-9._~!$&'()*+,;=:@-]*)*(?:\\?[a-zA-Z0-9._~!$&'()*+,;=:@/"
            "?-]*)?(?:#[a-zA-Z0-9._~!$&'()*+,;=:@/?-]*)?$"},
};

}  // namespace

std::optional<std::string_view> PatternOfFormat(std::string_view format) {
  for (const auto& [name, pattern] : kFormats) {
    if (name == format) return pattern;
  }
  return std::nullopt;
}

std::string_view KnownFormats() {
  return "date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri";
}

}  // namespace millrace::constrained_internal
