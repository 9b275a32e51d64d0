// The functions of biases; arrays are (..., C), or (..., C, N) if the batch is last.
#include "boundary.hpp"

namespace {

Bias read_bias(const Array &x, const Array &bias, bool batch_last) {
    const int axis = x.ndim() - (batch_last ? 2 : 1); // of the channels
    if (axis < 0 || bias.ndim() != 1 || bias.length(0) != x.length(axis)) refuse("a bias must have the channels of x");
    Bias s{1, x.length(axis), batch_last ? x.length(-1) : 1};
    for (int i = 0; i < axis; i++) s.rows *= x.length(i);
    return s;
}

// bias_add(x, bias, batch_last) changes x.
PyObject *bias_add(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    Array x(a[0], "x", true), bias(a[1], "bias");
    check_operands(x, {&bias});
    const Bias s = read_bias(x, bias, integer(a[2]));
    return call(x, [&](auto &kernels) { kernels.bias_add(s, bias, x); });
}

// bias_grad(dy, sums, batch_last) writes sums.
PyObject *bias_grad(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    Array dy(a[0], "dy"), sums(a[1], "sums", true);
    check_operands(sums, {&dy});
    const Bias s = read_bias(dy, sums, integer(a[2]));
    return call(sums, [&](auto &kernels) { kernels.bias_grad(s, dy, sums); });
}

} // namespace

PyMethodDef bias_functions[] = {
    FUNCTION(bias_add),
    FUNCTION(bias_grad),
    END_OF_FUNCTIONS,
};
