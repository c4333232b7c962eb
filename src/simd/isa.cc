#include "simd/isa.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <string>

namespace millrace {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2,    Isa::kAvxVnni,
                        Isa::kAvx512, Isa::kNeonDot, Isa::kNeonI8mm};

bool Runs(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Isa::kAvxVnni:
      return Runs(Isa::kAvx2) && __builtin_cpu_supports("avxvnni");
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
