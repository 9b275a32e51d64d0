// All kernels for the instruction set ISA, with vectors of VECTOR_BYTES and tiles of TILE_ROWS.
namespace ISA {
namespace {

constexpr int vector_bytes = VECTOR_BYTES, tile_rows = TILE_ROWS;

// How many parts a job of so many pieces and operations is divided into: enough to share, and each large enough to pay.
inline long parts_for(long pieces, double operations) {
    const long most = pieces < 64 ? pieces : 64, parts = static_cast<long>(operations / 200e3);
    return parts < 1 ? 1 : parts > most ? most : parts;
}

// Call work(begin, end) for parts of the indices [0, n).
template <class Function> void for_ranges(long n, double operations_each, const Function &work) {
    const long parts = parts_for(n, n * operations_each);
    pool::run(parts, [&](long part) { work(part * n / parts, (part + 1) * n / parts); });
}

#include "vectors.hpp"

#include "math.hpp"

#include "elementwise.hpp"

#include "tile.hpp"

#include "bias.hpp"

#include "products.hpp"

#include "attention.hpp"

#include "recurrence.hpp"

#include "convolution.hpp"

#include "pooling.hpp"

#include "updates.hpp"

#include "softmax.hpp"

#include "dropout.hpp"

#include "normalize.hpp"

#include "clusters.hpp"

template <class T> constexpr Kernels<T> table = {
    conv<T>,
    conv_input_gradient<T>,
    conv_weight_gradient<T>,
    run_program<T>,
    mean_of_program<T>,
    products<T>,
    stacked_products<T>,
    max_pool<T>,
    max_pool_gradient<T>,
    sum_pool<T>,
    sum_pool_gradient<T>,
    adam<T>,
    sgd<T>,
    rmsprop<T>,
    adagrad<T>,
    add_scaled<T>,
    bias_add<T>,
    bias_grad<T>,
    log_softmax<T>,
    softmax<T>,
    softmax_gradient<T>,
    sparse_softmax_cross_entropy<T>,
    dropout<T>,
    normalize<T>,
    normalize_gradient<T>,
    attention<T>,
    attention_gradient<T>,
    recurrence<T>,
    recurrence_gradient<T>,
    sum_of_squares<T>,
    nearest_centres<T>,
    cluster_sums<T>,
};

} // namespace

extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
const Kernels<float> float_kernels = table<float>;
const Kernels<double> double_kernels = table<double>;

} // namespace ISA
