// The functions of convolutions.
#include "boundary.hpp"

namespace {

// The convolution of x (*input, C, N) with w (*window, C / groups, O) to y (*output, O, N); N comes first unless
// `batch_last`.
Convolution read_convolution(const Array &x, const Array &w, const Array &y, PyObject *const *settings) {
    const int n_axes = x.ndim() - 2;
    if (n_axes < 1 || n_axes > 3 || w.ndim() != x.ndim() || y.ndim() != x.ndim())
        refuse("x, w and y must have 1 to 3 spatial axes, and two more");
    Convolution s;
    s.batch_last = integer(settings[0]);
    read_axes(settings[1], n_axes, 1, s.stride);
    read_axes(settings[2], n_axes, 1, s.dilation);
    read_pads(settings[3], n_axes, s.padding);
    s.groups = integer(settings[4]);
    const int first = s.batch_last ? 0 : 1, channels = s.batch_last ? -2 : -1, images = s.batch_last ? -1 : 0;
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes);
        s.input[axis] = given < 0 ? 1 : x.length(first + given);
        s.window[axis] = given < 0 ? 1 : w.length(given);
        s.output[axis] = given < 0 ? 1 : y.length(first + given);
    }
    s.images = x.length(images);
    s.channels = w.length(-2);
    if (s.groups < 1 || w.length(-1) % s.groups || s.channels * s.groups != x.length(channels) ||
        y.length(channels) != w.length(-1) || y.length(images) != s.images)
        refuse("x, w and y do not fit: channels, groups or images");
    s.outputs = w.length(-1) / s.groups;
    if (s.window[0] * s.window[1] * s.window[2] > max_window) refuse("the window has too many positions");
    return s;
}

// conv(x, w, bias or None, y, batch_last, stride, dilation, pads, groups) writes y.
PyObject *conv(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 9);
    Array x(a[0], "x"), w(a[1], "w"), y(a[3], "y", true);
    OptionalArray bias(a[2], "bias");
    check_operands(y, {&x, &w});
    const Convolution s = read_convolution(x, w, y, a + 4);
    if (const Array *given = bias.get()) {
        check_operands(y, {given});
        if (given->ndim() != 1 || given->length(0) != w.length(-1)) refuse("the bias must have one number an output");
    }
    return call(y, [&](auto &kernels) { kernels.conv(s, x, w, bias, y); });
}

// conv_input_gradient(dy, w, dx, batch_last, stride, dilation, pads, groups) writes dx.
PyObject *conv_input_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array dy(a[0], "dy"), w(a[1], "w"), dx(a[2], "dx", true);
    check_operands(dx, {&dy, &w});
    const Convolution s = read_convolution(dx, w, dy, a + 3);
    return call(dx, [&](auto &kernels) { kernels.conv_input_gradient(s, dy, w, dx); });
}

// conv_weight_gradient(x, dy, dw, batch_last, stride, dilation, pads, groups) writes dw.
PyObject *conv_weight_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array x(a[0], "x"), dy(a[1], "dy"), dw(a[2], "dw", true);
    check_operands(dw, {&x, &dy});
    const Convolution s = read_convolution(x, dw, dy, a + 3);
    return call(dw, [&](auto &kernels) { kernels.conv_weight_gradient(s, x, dy, dw); });
}

} // namespace

PyMethodDef convolution_functions[] = {
    FUNCTION(conv),
    FUNCTION(conv_input_gradient),
    FUNCTION(conv_weight_gradient),
    END_OF_FUNCTIONS,
};
