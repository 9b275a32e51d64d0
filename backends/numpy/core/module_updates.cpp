// The functions of optimizers; arrays are flat and have one length and dtype.
#include "boundary.hpp"

namespace {

// Refuse arrays, null if missing, of different lengths or dtypes, and those that overlap. Return their length.
long check_flat(std::initializer_list<const Array *> arrays) {
    const Array &first = **arrays.begin();
    for (const Array *const *one = arrays.begin(); one != arrays.end(); one++) {
        if (!*one) continue;
        if ((*one)->ndim() != 1 || !(*one)->same_shape(first)) refuse("arrays must be flat and have one length");
        for (const Array *const *other = arrays.begin(); other != one; other++)
            if (*other) check_operands(**one, {*other});
    }
    return first.length(0);
}

// adam(data, grad, grad_sum, square_sum, beta1, beta2, rate, eps) changes all but grad.
PyObject *adam(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array data(a[0], "data", true), grad(a[1], "grad");
    Array grad_sum(a[2], "grad_sum", true), square_sum(a[3], "square_sum", true);
    const long n = check_flat({&data, &grad, &grad_sum, &square_sum});
    const Adam s{number(a[4]), number(a[5]), number(a[6]), number(a[7])};
    return call(data, [&](auto &kernels) { kernels.adam(n, data, grad, grad_sum, square_sum, s); });
}

// sgd(data, grad, velocity or None, rate, momentum, nesterov) changes data and velocity.
PyObject *sgd(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 6);
    Array data(a[0], "data", true), grad(a[1], "grad");
    OptionalArray velocity(a[2], "velocity", true);
    const long n = check_flat({&data, &grad, velocity.get()});
    const SGD s{number(a[3]), number(a[4]), integer(a[5]) != 0};
    return call(data, [&](auto &kernels) { kernels.sgd(n, data, grad, velocity, s); });
}

// rmsprop(data, grad, square, mean or None, velocity or None, rate, rho, momentum, eps) changes all but grad.
PyObject *rmsprop(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 9);
    Array data(a[0], "data", true), grad(a[1], "grad"), square(a[2], "square", true);
    OptionalArray mean(a[3], "mean", true), velocity(a[4], "velocity", true);
    const long n = check_flat({&data, &grad, &square, mean.get(), velocity.get()});
    const RMSprop s{number(a[5]), number(a[6]), number(a[7]), number(a[8])};
    return call(data, [&](auto &kernels) { kernels.rmsprop(n, data, grad, square, mean, velocity, s); });
}

// adagrad(data, grad, square, rate, eps) changes all but grad.
PyObject *adagrad(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 5);
    Array data(a[0], "data", true), grad(a[1], "grad"), square(a[2], "square", true);
    const long n = check_flat({&data, &grad, &square});
    const double rate = number(a[3]), eps = number(a[4]);
    return call(data, [&](auto &kernels) { kernels.adagrad(n, data, grad, square, rate, eps); });
}

// add_scaled(x, y, factor, out) writes out, which may be x or y, but may not overlap them otherwise.
PyObject *add_scaled(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 4);
    Array x(a[0], "x"), y(a[1], "y"), out(a[3], "out", true);
    for (const Array *operand : {&x, &y}) {
        if (static_cast<const char *>(*operand) == static_cast<const char *>(out)) {
            if (operand->is_double() != out.is_double()) refuse("arrays must have one dtype");
        } else check_operands(out, {operand});
        if (!operand->same_shape(out)) refuse("arrays must have one shape");
    }
    const double factor = number(a[2]);
    return call(out, [&](auto &kernels) { kernels.add_scaled(out.size(), x, y, factor, out); });
}

} // namespace

PyMethodDef update_functions[] = {
    FUNCTION(adam), FUNCTION(sgd), FUNCTION(rmsprop), FUNCTION(adagrad), FUNCTION(add_scaled), END_OF_FUNCTIONS,
};
