// The functions of pooling.
#include "boundary.hpp"

namespace {

// Settings are (batch_last, size, stride, dilation, pads), pads being a pair (before, after) for each axis; arrays are
// (N, *spatial, C), or (*spatial, C, N) if the batch is last.
Pooling read_pooling(const Array &x, const Array &y, PyObject *const *settings) {
    const int n_axes = x.ndim() - 2;
    if (n_axes < 1 || n_axes > 3 || y.ndim() != x.ndim()) refuse("arrays must have 1 to 3 spatial axes, and two more");
    const bool batch_last = integer(settings[0]);
    Pooling s;
    read_axes(settings[1], n_axes, 1, s.window);
    read_axes(settings[2], n_axes, 1, s.stride);
    read_axes(settings[3], n_axes, 1, s.dilation);
    read_pads(settings[4], n_axes, s.padding);
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes), place = batch_last ? given : given + 1;
        s.input[axis] = given < 0 ? 1 : x.length(place);
        s.output[axis] = given < 0 ? 1 : y.length(place);
    }
    const int other = batch_last ? n_axes : 0; // the axis that is neither spatial nor the last one
    if (x.length(other) != y.length(other) || x.length(-1) != y.length(-1))
        refuse("arrays must have the same channels");
    s.images = batch_last ? 1 : x.length(0);
    s.width = batch_last ? x.length(-2) * x.length(-1) : x.length(-1);
    return s;
}

// max_pool(x, y, *settings) writes y.
PyObject *max_pool(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 7);
    Array x(a[0], "x"), y(a[1], "y", true);
    check_operands(y, {&x});
    const Pooling s = read_pooling(x, y, a + 2);
    return call(y, [&](auto &kernels) { kernels.max_pool(s, x, y); });
}

// max_pool_gradient(dy, x, y, dx, *settings) writes dx.
PyObject *max_pool_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 9);
    Array dy(a[0], "dy"), x(a[1], "x"), y(a[2], "y"), dx(a[3], "dx", true);
    check_operands(dx, {&dy, &x, &y});
    const Pooling s = read_pooling(dx, dy, a + 4);
    if (!x.same_shape(dx) || !y.same_shape(dy)) refuse("dx must have the shape of x, and dy that of y");
    return call(dx, [&](auto &kernels) { kernels.max_pool_gradient(s, dy, x, y, dx); });
}

// sum_pool(x, y, *settings, factor) writes y.
PyObject *sum_pool(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array x(a[0], "x"), y(a[1], "y", true);
    check_operands(y, {&x});
    Pooling s = read_pooling(x, y, a + 2);
    s.factor = number(a[7]);
    return call(y, [&](auto &kernels) { kernels.sum_pool(s, x, y); });
}

// sum_pool_gradient(dy, dx, *settings, factor) writes dx.
PyObject *sum_pool_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array dy(a[0], "dy"), dx(a[1], "dx", true);
    check_operands(dx, {&dy});
    Pooling s = read_pooling(dx, dy, a + 2);
    s.factor = number(a[7]);
    return call(dx, [&](auto &kernels) { kernels.sum_pool_gradient(s, dy, dx); });
}

} // namespace

PyMethodDef pooling_functions[] = {
    FUNCTION(max_pool), FUNCTION(max_pool_gradient), FUNCTION(sum_pool), FUNCTION(sum_pool_gradient), END_OF_FUNCTIONS,
};
