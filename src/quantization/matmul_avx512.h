// The AVX-512 kernels by format, so that the table in matmul_avx512.cc can name those of the other
// files.
#pragma once

#include "quantization/matmul_kernels.h"

namespace millrace::avx512 {

void PanelsQ8_0(const PanelArgs& args);
void PanelsQ4_0(const PanelArgs& args);
void PanelsQ4_1(const PanelArgs& args);
void PanelsQ5_0(const PanelArgs& args);
void PanelsQ5_1(const PanelArgs& args);
void PanelsIQ4_NL(const PanelArgs& args);
void PanelsMXFP4(const PanelArgs& args);
void PanelsQ4_K(const PanelArgs& args);
void PanelsQ5_K(const PanelArgs& args);
void PanelsQ6_K(const PanelArgs& args);
void PanelsQ2_K(const PanelArgs& args);
void PanelsQ3_K(const PanelArgs& args);
void PanelsIQ4_XS(const PanelArgs& args);

}  // namespace millrace::avx512
