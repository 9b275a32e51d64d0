// Matrix products for Python.
#include "boundary.hpp"

namespace {

// A matrix of float or double with any steps, held while a kernel runs.
class StridedMatrix {
  public:
    StridedMatrix(PyObject *object, const char *name) {
        if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT)) throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        const bool fits = (kind == 'f' || kind == 'd') && view.ndim == 2 &&
                          reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize == 0 &&
                          view.strides[0] % view.itemsize == 0 && view.strides[1] % view.itemsize == 0;
        if (!fits) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned matrix of float32 or float64");
        }
    }
    ~StridedMatrix() { PyBuffer_Release(&view); }
    StridedMatrix(const StridedMatrix &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    template <class T> operator Matrix<T>() const {
        const long size = static_cast<long>(view.itemsize);
        return {static_cast<T *>(view.buf), static_cast<long>(view.shape[0]), static_cast<long>(view.shape[1]),
                static_cast<long>(view.strides[0]) / size, static_cast<long>(view.strides[1]) / size};
    }
    bool overlaps(const Array &result) const {
        const char *low = static_cast<const char *>(view.buf), *high = low + view.itemsize;
        for (int axis = 0; axis < 2; axis++) {
            if (view.shape[axis] == 0) return false;
            const Py_ssize_t reach = (view.shape[axis] - 1) * view.strides[axis];
            (reach < 0 ? low : high) += reach;
        }
        return result.meets(low, high);
    }
    long rows() const { return static_cast<long>(view.shape[0]); }
    long columns() const { return static_cast<long>(view.shape[1]); }

  private:
    Py_buffer view;
};

// matmul(a, b, start or None, y) writes y = a b, and adds the vector start to each row.
PyObject *matmul(PyObject *const *a, Py_ssize_t count) {
    expect(count, 4);
    StridedMatrix left(a[0], "a"), right(a[1], "b");
    OptionalArray start(a[2], "start");
    Array y(a[3], "y", true);
    if (left.is_double() != y.is_double() || right.is_double() != y.is_double()) refuse("arrays must have one dtype");
    if (left.columns() != right.rows() || y.ndim() != 2 || y.length(0) != left.rows() || y.length(1) != right.columns())
        refuse("a, b and y do not fit");
    if (left.overlaps(y) || right.overlaps(y)) refuse("the result must not overlap an operand");
    if (const Array *given = start.get()) {
        check(y, {given});
        if (given->ndim() != 1 || given->length(0) != y.length(1)) refuse("start must have the columns of y");
    }
    return call(y, [&](auto &kernels) { kernels.product(left, right, start, y, y.length(1)); });
}

} // namespace

PyMethodDef product_functions[] = {FUNCTION(matmul), END_OF_FUNCTIONS};
