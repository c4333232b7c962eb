// The kernels of the integer formats for AVX2 with AVX-VNNI; see matmul_avx2_integer.h.
#define MILLRACE_AVX_VNNI
#include "quantization/matmul_avx2.h"
#include "quantization/matmul_avx2_super.h"

namespace millrace::avxvnni {

void PanelQ8_0(const PanelArgs& args) { IntegerPanel<Q8_0>(args); }
void PanelQ4_0(const PanelArgs& args) { IntegerPanel<Q4_0>(args); }
void PanelQ4_1(const PanelArgs& args) { IntegerPanel<Q4_1>(args); }
void PanelQ5_0(const PanelArgs& args) { IntegerPanel<Q5_0>(args); }
void PanelQ5_1(const PanelArgs& args) { IntegerPanel<Q5_1>(args); }
void PanelIQ4_NL(const PanelArgs& args) { IntegerPanel<IQ4_NL>(args); }
void PanelMXFP4(const PanelArgs& args) { IntegerPanel<MXFP4>(args); }
void PanelQ4_K(const PanelArgs& args) { IntegerPanel<Q4_K>(args); }
void PanelQ5_K(const PanelArgs& args) { IntegerPanel<Q5_K>(args); }
void PanelQ6_K(const PanelArgs& args) { IntegerPanel<Q6_K>(args); }
void PanelQ2_K(const PanelArgs& args) { IntegerPanel<Q2_K>(args); }
void PanelQ3_K(const PanelArgs& args) { IntegerPanel<Q3_K>(args); }
void PanelIQ4_XS(const PanelArgs& args) { IntegerPanel<IQ4_XS>(args); }

}  // namespace millrace::avxvnni
