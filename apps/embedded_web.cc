#include "embedded_web.h"

#define MILLRACE_WEB_BYTES(name)                        \
  extern const char millrace_web_##name##_begin[];      \
  extern const char millrace_web_##name##_end[];        \
  extern const char millrace_web_##name##_gzip_begin[]; \
  extern const char millrace_web_##name##_gzip_end[];

extern "C" {
MILLRACE_WEB_BYTES(page)
MILLRACE_WEB_BYTES(script)
MILLRACE_WEB_BYTES(style)
MILLRACE_WEB_BYTES(icon)
extern const char millrace_demo_comparison_begin[];
extern const char millrace_demo_comparison_end[];
}

#define MILLRACE_WEB_FILE(path, type, name)                                 \
  WebFile {                                                                 \
    path, type, {millrace_web_##name##_begin, millrace_web_##name##_end}, { \
      millrace_web_##name##_gzip_begin, millrace_web_##name##_gzip_end      \
    }                                                                       \
  }

namespace millrace {

std::vector<WebFile> EmbeddedWebFiles() {
  return {MILLRACE_WEB_FILE("/", "text/html; charset=utf-8", page),
          MILLRACE_WEB_FILE("/app.js", "text/javascript; charset=utf-8", script),
          MILLRACE_WEB_FILE("/app.css", "text/css; charset=utf-8", style),
          MILLRACE_WEB_FILE("/icon.svg", "image/svg+xml", icon)};
}

std::string_view EmbeddedComparison() {
  return {millrace_demo_comparison_begin, millrace_demo_comparison_end};
}

}  // namespace millrace
