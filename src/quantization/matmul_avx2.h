// The kernels of the integer formats on 256-bit vectors, so that the tables in matmul_avx2.cc can
// name them.
#pragma once

#include "quantization/matmul_kernels.h"

namespace millrace::avx2 {

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

}  // namespace millrace::avx2

namespace millrace::avxvnni {

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

}  // namespace millrace::avxvnni
