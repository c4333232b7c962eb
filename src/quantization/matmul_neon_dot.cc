// The kernels for NEON with the int8 dot product; see matmul_neon.h. What is missing here is the
// scalar kernel's.
#include "quantization/matmul_neon.h"

namespace millrace {

const MatMulKernels kNeonDotMatMulKernels = {
    .quantize_activations = scalar::QuantizeActivations,
    .by_type =
        {
            {DType::kQ8_0, IntegerPanel<Q8_0>},
            {DType::kQ4_0, IntegerPanel<Q4_0>},
            {DType::kQ4_K, IntegerPanel<Q4_K>},
            {DType::kQ5_K, IntegerPanel<Q5_K>},
            {DType::kQ6_K, IntegerPanel<Q6_K>},
            {DType::kIQ4_NL, IntegerPanel<IQ4_NL>},
        },
};

}  // namespace millrace
