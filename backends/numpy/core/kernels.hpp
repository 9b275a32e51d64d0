// What the kernels offer: one table of functions for each instruction set and each dtype.
#pragma once

#include <cstdint>

// A convolution over three axes; of fewer, the first have the length 1. Channels are those of one group.
struct Convolution {
    long images, groups, channels, outputs;
    long input[3], output[3], window[3], stride[3], dilation[3], padding[3];
};

constexpr long max_window = 1024; // positions

// Pooling of arrays (images, *spatial, width) over three axes; of fewer, the first have the length 1.
struct Pooling {
    long images, width;
    long input[3], output[3], window[3], stride[3], dilation[3], padding[3];
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

// Functions of one number.
enum class Function { exp, expm1, log, sigmoid, tanh };

template <class T> struct Kernels {
    void (*conv)(const Convolution &, const T *x, const T *w, T *y);
    void (*conv_input_gradient)(const Convolution &, const T *dy, const T *w, T *dx);
    void (*conv_weight_gradient)(const Convolution &, const T *x, const T *dy, T *dw);
    void (*max_pool)(const Pooling &, const T *x, T *y);
    void (*max_pool_gradient)(const Pooling &, const T *dy, const T *x, const T *y, T *dx);
    void (*sum_pool)(const Pooling &, const T *x, T *y);
    void (*sum_pool_gradient)(const Pooling &, const T *dy, T *dx);
    void (*adam)(long n, T *data, const T *grad, T *grad_sum, T *square_sum, const Adam &);
    void (*sgd)(long n, T *data, const T *grad, T *velocity, const SGD &);
    void (*rmsprop)(long n, T *data, const T *grad, T *square, T *mean, T *velocity, const RMSprop &);
    void (*bias_add)(const Bias &, const T *bias, T *x);
    void (*bias_grad)(const Bias &, const T *dy, T *sums);
    void (*log_softmax)(long rows, long classes, const T *x, T *y);
    void (*sparse_softmax_cross_entropy)(long rows, long classes, const T *x, const std::int64_t *labels, T *losses,
                                         T *gradient);
    void (*map)(Function, long n, const T *x, T *y);
};
