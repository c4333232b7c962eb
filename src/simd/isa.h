// The choice of an instruction set, made once at start. Kernels of a module are tables of function
// pointers, one table per Isa; MILLRACE_ISA (read in apps/) forces a set.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

enum class Isa {
  kScalar,    // portable C++: the twin that defines every kernel's result
  kAvx2,      // AVX2, FMA, F16C
  kAvxVnni,   // those and AVX-VNNI, the int8 dot product on 256 bits (Alder Lake, Zen 5 and later)
  kAvx512,    // AVX-512 F, BW, DQ, VL, VNNI and BF16 (Zen 4, Sapphire Rapids and later)
  kNeonDot,   // ARM: NEON with the int8 dot product (Armv8.2 and later)
  kNeonI8mm,  // those and i8mm, the int8 matrix product (Armv8.6, Graviton 3, and later)
};

std::string_view NameOf(Isa isa);  // "scalar", "avx2", "avxvnni", "avx512", "neon-dot", "neon-i8mm"
Isa DetectIsa();                   // the best this CPU and operating system run
std::vector<Isa> SupportedIsas();  // from kScalar up to DetectIsa()
// `forced` empty: DetectIsa(). An unknown name, or one that this CPU cannot run, is an error that
// lists the choices.
Result<Isa> ChooseIsa(std::optional<std::string_view> forced);

}  // namespace millrace
