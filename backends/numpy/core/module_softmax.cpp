// The functions of rows of classes, and those of one number.
#include "boundary.hpp"

namespace {

// log_softmax(x, y) writes y; both (rows, classes).
PyObject *log_softmax(PyObject *const *a, Py_ssize_t count) {
    expect(count, 2);
    Array x(a[0], "x"), y(a[1], "y", true);
    check(y, {&x});
    if (x.ndim() != 2 || x.length(1) < 1 || !x.same_shape(y)) refuse("x and y must have one shape (rows, classes)");
    return call(y, [&](auto &kernels) { kernels.log_softmax(x.length(0), x.length(1), x, y); });
}

// sparse_softmax_cross_entropy(x, labels, losses, gradient) writes losses and gradient; labels are int64.
PyObject *sparse_softmax_cross_entropy(PyObject *const *a, Py_ssize_t count) {
    expect(count, 4);
    Array x(a[0], "x"), labels(a[1], "labels", false, Array::int64), losses(a[2], "losses", true);
    Array gradient(a[3], "gradient", true);
    check(losses, {&x, &gradient});
    check(gradient, {&x});
    if (labels.overlaps(losses) || labels.overlaps(gradient)) refuse("the results must not overlap the labels");
    if (x.ndim() != 2 || x.length(1) < 1 || !x.same_shape(gradient) || labels.ndim() != 1 ||
        !labels.same_shape(losses) || labels.length(0) != x.length(0))
        refuse("x and gradient must have one shape (rows, classes), labels and losses (rows,)");
    return call(gradient, [&](auto &kernels) {
        kernels.sparse_softmax_cross_entropy(x.length(0), x.length(1), x, labels, losses, gradient);
    });
}

// function(x, y) writes y, of the shape of x.
template <Function which> PyObject *map(PyObject *const *a, Py_ssize_t count) {
    expect(count, 2);
    Array x(a[0], "x"), y(a[1], "y", true);
    check(y, {&x});
    if (!x.same_shape(y)) refuse("x and y must have one shape");
    return call(y, [&](auto &kernels) { kernels.map(which, x.size(), x, y); });
}

} // namespace

PyMethodDef softmax_functions[] = {
    FUNCTION(log_softmax),
    FUNCTION(sparse_softmax_cross_entropy),
    named<map<Function::exp>>("exp"),
    named<map<Function::expm1>>("expm1"),
    named<map<Function::log>>("log"),
    named<map<Function::sigmoid>>("sigmoid"),
    named<map<Function::tanh>>("tanh"),
    END_OF_FUNCTIONS,
};
