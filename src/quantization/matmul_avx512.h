// The AVX-512 kernels by format, so that the table in matmul_avx512.cc can name those of the other
// files.
#pragma once

#include "quantization/matmul_kernels.h"

namespace millrace::avx512 {

void PanelQ8_0(const PanelArgs& args);
void PanelQ4_0(const PanelArgs& args);
void PanelQ4_1(const PanelArgs& args);
void PanelQ5_0(const PanelArgs& args);
void PanelQ5_1(const PanelArgs& args);
void PanelIQ4_NL(const PanelArgs& args);
void PanelMXFP4(const PanelArgs& args);
void PanelQ4_K(const PanelArgs& args);
void PanelQ5_K(const PanelArgs& args);
void PanelQ6_K(const PanelArgs& args);
void PanelQ2_K(const PanelArgs& args);
void PanelQ3_K(const PanelArgs& args);
void PanelIQ4_XS(const PanelArgs& args);

// Two panels at a time; see PairKernel.
void PairQ8_0(const PanelArgs& args);
void PairQ4_0(const PanelArgs& args);
void PairQ4_K(const PanelArgs& args);
void PairQ5_K(const PanelArgs& args);
void PairQ6_K(const PanelArgs& args);
void PairQ3_K(const PanelArgs& args);

}  // namespace millrace::avx512
