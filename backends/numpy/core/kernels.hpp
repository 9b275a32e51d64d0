// What the kernels offer: one table of functions for each instruction set and each dtype.
#pragma once

// A convolution over three axes; of fewer, the first have the length 1. Channels are those of one group.
struct Convolution {
    long images, groups, channels, outputs;
    long input[3], output[3], window[3], stride[3], dilation[3], padding[3];
};

// A matrix of any steps, in numbers.
template <class T> struct Matrix {
    const T *data;
    long rows, columns, row_step, column_step;
};

constexpr long max_window = 1024; // positions

template <class T> struct Kernels {
    void (*conv)(const Convolution &, const T *x, const T *w, T *y);
    void (*conv_input_gradient)(const Convolution &, const T *dy, const T *w, T *dx);
    void (*conv_weight_gradient)(const Convolution &, const T *x, const T *dy, T *dw);
    void (*product)(const Matrix<T> &a, const Matrix<T> &b, const T *start, T *y, long y_step);
};
