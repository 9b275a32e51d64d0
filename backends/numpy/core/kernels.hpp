// What the kernels offer: one table of functions for each instruction set and each dtype.
#pragma once

#include <cstdint>
#include <vector>

// A convolution over three axes; of fewer, the first have the length 1. Channels are those of one group. The images are
// the last axis of the arrays, or the first.
struct Convolution {
    bool batch_last;
    long images, groups, channels, outputs;
    long input[3], output[3], window[3], stride[3], dilation[3], padding[3];
};

// A matrix of any steps, in numbers.
template <class T> struct Matrix {
    const T *data;
    long rows, columns, row_step, column_step;
};

constexpr long max_window = 1024; // positions
constexpr long max_values = 256;  // of a program

// The operations of elementwise programs, in the order of their numbers. Python reads their names.
#define OPERATIONS                                                                                                     \
    add, subtract, multiply, divide, negative, abs, sign, maximum, minimum, less, less_equal, greater, greater_equal,  \
        equal, not_equal, where, as_number, as_boolean, sqrt, sin, cos, erfcx, exp, expm1, log, log1p, tanh, sigmoid,  \
        copy
enum class Operation { OPERATIONS, count };

// Apply an operation to values by their numbers, and append the result to the values.
struct Instruction {
    Operation operation;
    int a, b, c;
};

// The result of the last instruction, from arguments of one length. Values are numbered: arguments, constants, results.
template <class T> struct Program {
    std::vector<const T *> arguments;
    std::vector<T> constants;
    std::vector<Instruction> instructions;
    T *result;
    long n_values;
};

// The product y = a b + bias, whose columns are contiguous.
template <class T> struct Product {
    Matrix<T> a, b;
    T *y;
    long y_step;                                     // from one row to the next
    const T *bias = nullptr, *bias_of_row = nullptr; // one number for each column, or for each row
    T *column_sums = nullptr;                        // also the sums of the columns of b
    const Program<T> *after = nullptr;               // is applied to y; its arrays are stored as y is
};

// Pooling of arrays (images, *spatial, width) over three axes; of fewer, the first have the length 1.
struct Pooling {
    long images, width;
    long input[3], output[3], window[3], stride[3], dilation[3], padding[3];
    double factor = 1; // of sums
};

// Settings of optimizers. `rate` is the learning rate, for adam with the factors of both bias corrections.
struct Adam {
    double beta1, beta2, rate, eps;
};
struct SGD {
    double rate, momentum;
    bool nesterov;
};
struct RMSprop {
    double rate, rho, momentum, eps;
};

// An array (rows, channels, images) and a number for each channel.
struct Bias {
    long rows, channels, images;
};

// An array (examples, rows, kept, reduced, width), and a mean for each example, kept and width. The last three axes are
// columns, `images` of them for each channel.
struct Normalization {
    long examples, rows, kept, reduced, width, images;
    long columns() const { return kept * reduced * width; }
    long statistics() const { return kept * width; } // of an example
};

// Arrays (examples, heads, length, features), and the steps of the first three axes, in numbers.
template <class T> struct Heads {
    T *data;
    long example_step, head_step, row_step;
};

struct Attention {
    long examples, heads, queries, keys, features;
    bool is_causal;
    double scale;
};

// A recurrent layer: lengths of its arrays, `saved` of those that the gradient needs.
struct Recurrence {
    long steps, batch, inputs, hidden, gates, states, saved;
};

// Rows of some features, and clusters of them.
struct Clusters {
    long rows, features, clusters;
};

template <class T> struct Kernels {
    using Number = T;
    void (*conv)(const Convolution &, const T *x, const T *w, const T *bias, T *y); // the bias may be null
    void (*conv_input_gradient)(const Convolution &, const T *dy, const T *w, T *dx);
    void (*conv_weight_gradient)(const Convolution &, const T *x, const T *dy, T *dw);
    void (*run_program)(const Program<T> &program, long n);
    T (*mean_of_program)(const Program<T> &program, long n);
    void (*products)(const std::vector<Product<T>> &); // that do not depend on one another
    void (*stacked_products)(const std::vector<Product<T>> &);
    void (*max_pool)(const Pooling &, const T *x, T *y);
    void (*max_pool_gradient)(const Pooling &, const T *dy, const T *x, const T *y, T *dx);
    void (*sum_pool)(const Pooling &, const T *x, T *y);
    void (*sum_pool_gradient)(const Pooling &, const T *dy, T *dx);
    void (*adam)(long n, T *data, const T *grad, T *grad_sum, T *square_sum, const Adam &);
    void (*sgd)(long n, T *data, const T *grad, T *velocity, const SGD &);
    void (*rmsprop)(long n, T *data, const T *grad, T *square, T *mean, T *velocity, const RMSprop &);
    void (*adagrad)(long n, T *data, const T *grad, T *square, double rate, double eps);
    void (*add_scaled)(long n, const T *x, const T *y, double factor, T *out);
    void (*bias_add)(const Bias &, const T *bias, T *x);
    void (*bias_grad)(const Bias &, const T *dy, T *sums);
    void (*log_softmax)(long rows, long classes, const T *x, T *y);
    void (*softmax)(long rows, long classes, const T *x, T *y);
    void (*softmax_gradient)(long rows, long classes, bool log, const T *dy, const T *y, T *dx);
    void (*sparse_softmax_cross_entropy)(long rows, long classes, const T *x, const std::int64_t *labels, T factor,
                                         T *losses, T *gradient);
    void (*dropout)(long n, const T *x, const std::uint16_t *bits, long keep, T *y);
    void (*normalize)(const Normalization &, const T *x, const T *weight, const T *bias, double eps, bool given, T *y,
                      T *mean, T *variance);
    void (*normalize_gradient)(const Normalization &, const T *dy, const T *x, const T *mean, const T *variance,
                               const T *weight, double eps, T *dx, T *dweight, T *dbias);
    void (*attention)(const Attention &, const Heads<const T> &q, const Heads<const T> &k, const Heads<const T> &v,
                      const T *kept, const Heads<T> &y, T *log_sums);
    void (*attention_gradient)(const Attention &, const Heads<const T> &q, const Heads<const T> &k,
                               const Heads<const T> &v, const T *kept, const T *log_sums, const Heads<const T> &dy,
                               const Heads<T> &dq, const Heads<T> &dk, const Heads<T> &dv);
    void (*recurrence)(const Recurrence &, const T *x, const T *w_ih, const T *w_hh, const T *b_ih, const T *b_hh,
                       const T *kept, const Program<T> &program, T *states, T *saved);
    void (*recurrence_gradient)(const Recurrence &, const T *w_hh, const T *kept, const Program<T> &program,
                                const T *states, const T *saved, const T *dh, T *dstates, T *da, T *du);
    void (*sum_of_squares)(long rows, long features, const T *x, const T *origin, T *sum);
    void (*nearest_centres)(const Clusters &, const T *x, const T *centres, const T *origin, std::int64_t *labels,
                            T *distances);
    void (*cluster_sums)(const Clusters &, const T *x, const T *centres, const T *origin, T *sums, T *counts, T *cost);
};
