// The functions of k-means: x (N, D), centres (K, D), origin (D,).
#include "boundary.hpp"

namespace {

Clusters read_clusters(const Array &x, const Array &centres, const Array &origin) {
    if (x.ndim() != 2 || centres.ndim() != 2 || origin.ndim() != 1 || centres.length(0) < 1 ||
        centres.length(1) != x.length(1) || origin.length(0) != x.length(1))
        refuse("x, centres and origin must have one length of rows, and there must be a centre");
    return {x.length(0), x.length(1), centres.length(0)};
}

// sum_of_squares(x, origin, sum) writes sum ().
PyObject *sum_of_squares(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    Array x(a[0], "x"), origin(a[1], "origin"), sum(a[2], "sum", true);
    check_operands(sum, {&x, &origin});
    if (x.ndim() != 2 || origin.ndim() != 1 || origin.length(0) != x.length(1) || sum.size() != 1)
        refuse("origin must have the length of rows, and sum one number");
    return call(sum, [&](auto &kernels) { kernels.sum_of_squares(x.length(0), x.length(1), x, origin, sum); });
}

// nearest_centres(x, centres, origin, labels, distances) writes labels, int64, and squared distances, both (N,).
PyObject *nearest_centres(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 5);
    Array x(a[0], "x"), centres(a[1], "centres"), origin(a[2], "origin");
    Array labels(a[3], "labels", true, Array::int64), distances(a[4], "distances", true);
    check_operands(distances, {&x, &centres, &origin});
    for (const Array *other : {&x, &centres, &origin, &distances})
        if (labels.overlaps(*other)) refuse("labels must not overlap another array");
    const Clusters s = read_clusters(x, centres, origin);
    if (labels.ndim() != 1 || labels.length(0) != s.rows || !distances.same_shape(labels))
        refuse("labels and distances must have the length of x");
    return call(distances, [&](auto &kernels) { kernels.nearest_centres(s, x, centres, origin, labels, distances); });
}

// cluster_sums(x, centres, origin, sums, counts, cost) writes sums (K, D), counts (K,) and cost ().
PyObject *cluster_sums(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 6);
    Array x(a[0], "x"), centres(a[1], "centres"), origin(a[2], "origin");
    Array sums(a[3], "sums", true), counts(a[4], "counts", true), cost(a[5], "cost", true);
    check_operands(sums, {&x, &centres, &origin, &counts, &cost});
    check_operands(counts, {&x, &centres, &origin, &cost});
    check_operands(cost, {&x, &centres, &origin});
    const Clusters s = read_clusters(x, centres, origin);
    if (!sums.same_shape(centres) || counts.ndim() != 1 || counts.length(0) != s.clusters || cost.size() != 1)
        refuse("sums must have the shape of centres, counts their number, and cost one number");
    return call(sums, [&](auto &kernels) { kernels.cluster_sums(s, x, centres, origin, sums, counts, cost); });
}

} // namespace

PyMethodDef cluster_functions[] = {
    FUNCTION(sum_of_squares),
    FUNCTION(nearest_centres),
    FUNCTION(cluster_sums),
    END_OF_FUNCTIONS,
};
