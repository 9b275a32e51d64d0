// The functions of random bits and dropout.
#include "random.hpp"

#include "boundary.hpp"

namespace {

// random_bits(key, counter, begin, words) fills words, int64, from a block on.
PyObject *random_bits(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 4);
    const long key = integer(a[0]), counter = integer(a[1]), begin = integer(a[2]);
    Array words(a[3], "words", true, Array::int64);
    {
        WithoutGIL released;
        philox::fill(key, counter, begin, words, words.size());
    }
    Py_RETURN_NONE;
}

// dropout(x, bits, keep, y) writes y; arrays of one shape, bits of uint16.
PyObject *dropout(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 4);
    Array x(a[0], "x"), bits(a[1], "bits", false, Array::uint16), y(a[3], "y", true);
    check_operands(y, {&x});
    if (!x.same_shape(y) || !bits.same_shape(y)) refuse("x, bits and y must have one shape");
    if (bits.overlaps(y)) refuse("the result must not overlap an operand");
    const long keep = integer(a[2]);
    if (keep < 1 || keep > 65536) refuse("keep must be in [1, 65536]");
    return call(y, [&](auto &kernels) { kernels.dropout(x.size(), x, bits, keep, y); });
}

} // namespace

PyMethodDef random_functions[] = {
    FUNCTION(random_bits),
    FUNCTION(dropout),
    END_OF_FUNCTIONS,
};
