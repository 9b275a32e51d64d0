// The functions of normalization; the settings are (examples, rows, kept, reduced, width, images).
#include "boundary.hpp"

namespace {

Normalization read_normalization(PyObject *settings, const Array &x, const Array &mean, const Array &variance,
                                 std::initializer_list<const Array *> channels) {
    if (!PyTuple_Check(settings) || PyTuple_Size(settings) != 6) refuse("settings must be a tuple of six numbers");
    long n[6];
    for (int i = 0; i < 6; i++)
        if ((n[i] = integer(PyTuple_GetItem(settings, i))) < 1) refuse("settings must be positive");
    const Normalization s{n[0], n[1], n[2], n[3], n[4], n[5]};
    if (s.examples * s.rows * s.columns() != x.size() || s.columns() % s.images)
        refuse("settings must fit the size of x");
    if (mean.size() != s.examples * s.statistics() || variance.size() != mean.size())
        refuse("mean and variance must have a number for each example, kept and width");
    for (const Array *array : channels)
        if (array && array->size() != s.columns() / s.images) refuse("weight and bias must have a number a channel");
    return s;
}

// normalize(x, weight or None, bias or None, eps, given, y, mean, variance, settings) writes y, and unless they are
// given mean and variance.
PyObject *normalize(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 9);
    const bool given = integer(a[4]);
    Array x(a[0], "x"), y(a[5], "y", true), mean(a[6], "mean", !given), variance(a[7], "variance", !given);
    OptionalArray weight(a[1], "weight"), bias(a[2], "bias");
    check_operands(y, {&x, &mean, &variance});
    if (!given) {
        check_operands(mean, {&x, &variance});
        check_operands(variance, {&x});
    }
    for (const Array *array : {weight.get(), bias.get()}) {
        if (!array) continue;
        check_operands(y, {array});
        if (!given) check_operands(mean, {array}), check_operands(variance, {array});
    }
    const Normalization s = read_normalization(a[8], x, mean, variance, {weight.get(), bias.get()});
    if (y.size() != x.size()) refuse("y must have the size of x");
    const double eps = number(a[3]);
    return call(y, [&](auto &kernels) { kernels.normalize(s, x, weight, bias, eps, given, y, mean, variance); });
}

// normalize_gradient(dy, x, mean, variance, weight or None, eps, dx, dweight, dbias, settings) writes dx, dweight,
// dbias.
PyObject *normalize_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 10);
    Array dy(a[0], "dy"), x(a[1], "x"), mean(a[2], "mean"), variance(a[3], "variance");
    OptionalArray weight(a[4], "weight");
    Array dx(a[6], "dx", true), dweight(a[7], "dweight", true), dbias(a[8], "dbias", true);
    for (const Array *result : {&dx, &dweight, &dbias}) {
        check_operands(*result, {&dy, &x, &mean, &variance});
        if (weight.get()) check_operands(*result, {weight.get()});
    }
    check_operands(dx, {&dweight, &dbias});
    check_operands(dweight, {&dbias});
    const Normalization s = read_normalization(a[9], x, mean, variance, {weight.get(), &dweight, &dbias});
    if (dx.size() != x.size() || dy.size() != x.size()) refuse("dx and dy must have the size of x");
    const double eps = number(a[5]);
    return call(dx, [&](auto &kernels) {
        kernels.normalize_gradient(s, dy, x, mean, variance, weight, eps, dx, dweight, dbias);
    });
}

} // namespace

PyMethodDef normalize_functions[] = {
    FUNCTION(normalize),
    FUNCTION(normalize_gradient),
    END_OF_FUNCTIONS,
};
