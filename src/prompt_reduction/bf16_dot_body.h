// Bf16Dot over F32x16. Included behind the F32x16 of an instruction set; defines DotRow.
#pragma once

#include "prompt_reduction/bf16_dot.h"

namespace millrace {
namespace {

float DotRow(const uint16_t* row, const float* even, const float* odd, int64_t count) {
  F32x16 first = Set1(0.0f), second = Set1(0.0f);
  for (int64_t i = 0; i < count; i += 32) {
    first = Fma(LoadPairsFirst(row + i), Load(even + i / 2), first);
    second = Fma(LoadPairsSecond(row + i), Load(odd + i / 2), second);
  }
  return ReduceAdd(Add(first, second));
}

}  // namespace
}  // namespace millrace
