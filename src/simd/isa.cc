#include "simd/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <string>

namespace millrace {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2,    Isa::kAvxVnni,
                        Isa::kAvx512, Isa::kNeonDot, Isa::kNeonI8mm};

#if defined(__x86_64__)
// Two features that clang 14's __builtin_cpu_supports does not know. That the system saves the wide
// registers is known from AVX2, which both of them are used with.
bool HasF16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 29)) != 0;
}
bool HasAvxVnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 4)) != 0;
}
#endif

bool Runs(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
    case Isa::kAvxVnni:
      return Runs(Isa::kAvx2) && HasAvxVnni();
    case Isa::kAvx512:
      return Runs(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
             __builtin_cpu_supports("avx512bf16");
    case Isa::kNeonDot:
    case Isa::kNeonI8mm:
      return false;
  }
  return false;
#elif defined(__aarch64__)
  if (isa == Isa::kNeonDot) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  if (isa == Isa::kNeonI8mm) {
    return Runs(Isa::kNeonDot) && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  }
  return isa == Isa::kScalar;
#else
  return isa == Isa::kScalar;
#endif
}

}  // namespace

std::string_view NameOf(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kNeonDot:
      return "neon-dot";
    case Isa::kNeonI8mm:
      return "neon-i8mm";
  }
  return "unknown";
}

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : kAll) {
    if (Runs(isa)) isas.push_back(isa);
  }
  return isas;
}

Isa DetectIsa() { return SupportedIsas().back(); }

Result<Isa> ChooseIsa(std::optional<std::string_view> forced) {
  if (!forced.has_value()) return DetectIsa();
  std::string choices;
  for (Isa isa : SupportedIsas()) {
    if (NameOf(isa) == *forced) return isa;
    choices += (choices.empty() ? "" : ", ") + std::string(NameOf(isa));
  }
  for (Isa isa : kAll) {
    if (NameOf(isa) == *forced) {
      return Error{"this CPU cannot run the instruction set '" + std::string(*forced) +
                       "': choose one of " + choices,
                   ErrorKind::kUnsupported};
    }
  }
  return Error{"unknown instruction set '" + std::string(*forced) + "': choose one of " + choices};
}

}  // namespace millrace
