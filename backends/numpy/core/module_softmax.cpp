// Softmax and cross-entropy.
#include "boundary.hpp"

namespace {

// log_softmax(x, y) and softmax(x, y) write y; both (rows, classes).
template <bool log> PyObject *softmax(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 2);
    Array x(a[0], "x"), y(a[1], "y", true);
    check_operands(y, {&x});
    if (x.ndim() != 2 || x.length(1) < 1 || !x.same_shape(y)) refuse("x and y must have one shape (rows, classes)");
    return call(y,
                [&](auto &kernels) { (log ? kernels.log_softmax : kernels.softmax)(x.length(0), x.length(1), x, y); });
}

// log_softmax_gradient(dy, y, dx) and softmax_gradient(dy, y, dx) write dx; all (rows, classes).
template <bool log> PyObject *softmax_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    Array dy(a[0], "dy"), y(a[1], "y"), dx(a[2], "dx", true);
    check_operands(dx, {&dy, &y});
    if (y.ndim() != 2 || !y.same_shape(dy) || !y.same_shape(dx)) refuse("arrays must have one shape (rows, classes)");
    return call(dx, [&](auto &kernels) { kernels.softmax_gradient(y.length(0), y.length(1), log, dy, y, dx); });
}

// sparse_softmax_cross_entropy(x, labels, factor, losses, gradient) writes losses and factor times their gradient;
// labels are int64.
PyObject *sparse_softmax_cross_entropy(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 5);
    const double factor = number(a[2]);
    Array x(a[0], "x"), labels(a[1], "labels", false, Array::int64), losses(a[3], "losses", true);
    Array gradient(a[4], "gradient", true);
    check_operands(losses, {&x, &gradient});
    check_operands(gradient, {&x});
    if (labels.overlaps(losses) || labels.overlaps(gradient)) refuse("the results must not overlap the labels");
    if (x.ndim() != 2 || x.length(1) < 1 || !x.same_shape(gradient) || labels.ndim() != 1 ||
        !labels.same_shape(losses) || labels.length(0) != x.length(0))
        refuse("x and gradient must have one shape (rows, classes), labels and losses (rows,)");
    return call(gradient, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        const T f = static_cast<T>(factor);
        kernels.sparse_softmax_cross_entropy(x.length(0), x.length(1), x, labels, f, losses, gradient);
    });
}

} // namespace

PyMethodDef softmax_functions[] = {
    method<softmax<true>>("log_softmax"),
    method<softmax<false>>("softmax"),
    method<softmax_gradient<true>>("log_softmax_gradient"),
    method<softmax_gradient<false>>("softmax_gradient"),
    FUNCTION(sparse_softmax_cross_entropy),
    END_OF_FUNCTIONS,
};
