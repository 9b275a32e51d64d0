// All kernels for the instruction set ISA, with vectors of VECTOR_BYTES and tiles of TILE_ROWS.
namespace ISA {
namespace {

constexpr int vector_bytes = VECTOR_BYTES, tile_rows = TILE_ROWS;

// How many parts a job of so many pieces and operations is divided into: enough to share, and each large enough to pay.
inline long parts_for(long pieces, double operations) {
    const long most = pieces < 64 ? pieces : 64, parts = static_cast<long>(operations / 200e3);
    return parts < 1 ? 1 : parts > most ? most : parts;
}

#include "vectors.hpp"

#include "tile.hpp"

#include "products.hpp"

#include "convolution.hpp"

#include "elementwise.hpp"

#include "pooling.hpp"

template <class T>
constexpr Kernels<T> table = {
    conv<T>,
    conv_input_gradient<T>,
    conv_weight_gradient<T>,
    run_program<T>,
    product<T>,
    max_pool<T>,
    max_pool_gradient<T>,
    sum_pool<T>,
    sum_pool_gradient<T>,
};

} // namespace

extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
const Kernels<float> float_kernels = table<float>;
const Kernels<double> double_kernels = table<double>;

} // namespace ISA
