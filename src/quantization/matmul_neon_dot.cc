// The kernels for NEON with the int8 dot product; see matmul_neon.h. What is missing here is the
// scalar kernel's.
#include "quantization/matmul_neon.h"

namespace millrace {

const MatMulKernels kNeonDotMatMulKernels = {
    .quantize_activations = scalar::QuantizeActivations,
    .q8_0 = IntegerPanel<Q8_0>,
    .q4_0 = IntegerPanel<Q4_0>,
    .q4_k = IntegerPanel<Q4_K>,
    .q5_k = IntegerPanel<Q5_K>,
    .q6_k = IntegerPanel<Q6_K>,
    .iq4_nl = IntegerPanel<IQ4_NL>,
};

}  // namespace millrace
