// The kernels for NEON with i8mm; see matmul_neon.h. What is missing here is the scalar kernel's.
#define MILLRACE_I8MM
#include "quantization/matmul_neon.h"

namespace millrace {

const MatMulKernels kNeonI8mmMatMulKernels = {
    .quantize_activations = scalar::QuantizeActivations,
    .q8_0 = IntegerPanel<Q8_0>,
    .q4_0 = IntegerPanel<Q4_0>,
    .q4_k = IntegerPanel<Q4_K>,
    .q5_k = IntegerPanel<Q5_K>,
    .q6_k = IntegerPanel<Q6_K>,
    .iq4_nl = IntegerPanel<IQ4_NL>,
};

}  // namespace millrace
