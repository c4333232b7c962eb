// The AVX2 kernels of the integer formats, so that the table in matmul_avx2.cc can name them.
#pragma once

#include "quantization/matmul_kernels.h"

namespace millrace::avx2 {

void PanelQ8_0(const PanelArgs& args);
void PanelQ4_0(const PanelArgs& args);
void PanelQ4_K(const PanelArgs& args);
void PanelQ5_K(const PanelArgs& args);
void PanelQ6_K(const PanelArgs& args);

}  // namespace millrace::avx2
