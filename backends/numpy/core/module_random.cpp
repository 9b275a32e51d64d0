// The function of random bits.
#include "random.hpp"

#include "boundary.hpp"

namespace {

// random_bits(key, counter, words) fills words, int64.
PyObject *random_bits(PyObject *const *a, Py_ssize_t count) {
    expect(count, 3);
    const long key = integer(a[0]), counter = integer(a[1]);
    Array words(a[2], "words", true, Array::int64);
    {
        WithoutGIL released;
        philox::fill(key, counter, words, words.size());
    }
    Py_RETURN_NONE;
}

} // namespace

PyMethodDef random_functions[] = {
    FUNCTION(random_bits),
    END_OF_FUNCTIONS,
};
