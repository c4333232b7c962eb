#include "pdf_text.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace millrace {
namespace {

constexpr rlim_t kPdfMemory = rlim_t{2} << 30;
constexpr int kNoProgram = 127;

void Limit(__rlimit_resource what, rlim_t most) {
  const rlimit limit = {most, most};
  ::setrlimit(what, &limit);
}

// In the child: never returns.
[[noreturn]] void RunPdfToText(const char* path, int output) {
  Limit(RLIMIT_AS, kPdfMemory);
  Limit(RLIMIT_CPU, kPdfSeconds);
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_FSIZE, 0);
  const int nothing = ::open("/dev/null", O_RDWR);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(nothing, STDERR_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::execlp("pdftotext", "pdftotext", "-q", "-enc", "UTF-8", "-eol", "unix", path, "-", nullptr);
  ::_exit(errno == ENOENT ? kNoProgram : 126);
}

// What the child writes, at most `most` bytes more than are wanted.
std::string ReadAll(int input, size_t most) {
  std::string text, buffer(1 << 16, '\0');
  while (text.size() <= most) {
    const ssize_t got = ::read(input, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, 0, static_cast<size_t>(got));
  }
  return text;
}

// pdftotext ends pages with form feeds.
std::string PagesOf(std::string text) {
  std::string pages;
  for (const char c : text) {
    if (c == '\f') {
      pages += "\n\n";
    } else {
      pages += c;
    }
  }
  return pages;
}

Status CheckEnd(const std::string& path, int status) {
  if (WIFSIGNALED(status)) {
    const bool slow = WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL;
    return Error{path + (slow ? " takes too long to read as PDF: leave it out"
                              : " breaks the PDF reader: it is damaged or hostile, leave it out"),
                 ErrorKind::kInvalidArgument};
  }
  switch (WEXITSTATUS(status)) {
    case 0:
      return {};
    case kNoProgram:
      return Error{
          "PDF files are read with pdftotext, which is not here: apt-get install "
          "poppler-utils",
          ErrorKind::kUnsupported};
    case 3:
      return Error{path + " does not allow its text to be taken out: give one that does"};
    default:
      return Error{path + " is no PDF that can be read: it is damaged, or needs a password"};
  }
}

}  // namespace

Result<std::string> ReadPdf(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code) || ::access(path.c_str(), R_OK) != 0) {
    return Error{path + " cannot be read", ErrorKind::kNotFound};
  }
  // So that no name looks like a flag.
  const std::string absolute = std::filesystem::absolute(path).string();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{"no pipe can be made", ErrorKind::kIo};
  const pid_t child = ::fork();
  if (child == 0) RunPdfToText(absolute.c_str(), ends[1]);
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return Error{"pdftotext cannot be started", ErrorKind::kIo};
  }
  std::string text = ReadAll(ends[0], kMostPdfText);
  ::close(ends[0]);
  const bool too_long = text.size() > kMostPdfText;
  if (too_long) ::kill(child, SIGTERM);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (too_long) {
    return Error{
        path + " has more than " + std::to_string(kMostPdfText >> 20) + " MiB of text: split it",
        ErrorKind::kTooLarge};
  }
  RETURN_IF_ERROR(CheckEnd(path, status));
  text = PagesOf(std::move(text));
  if (text.find_first_not_of(" \n\r\t\v") == std::string::npos) {
    return Error{path + " has no text: its pages may be pictures, which must be recognised first"};
  }
  return text;
}

}  // namespace millrace
