// Matrix products for Python, and the dense layers that are made of them.
#include "program.hpp"

namespace {

// A matrix of float or double with any steps, or a stack (count, rows, columns) of them, held while a kernel runs.
class StridedMatrix {
  public:
    StridedMatrix(PyObject *object, const char *name, bool written = false, int ndim = 2) {
        if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0)))
            throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        const bool fits =
            (kind == 'f' || kind == 'd') && view.ndim == ndim &&
            reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize == 0 &&
            std::all_of(view.strides, view.strides + ndim, [&](Py_ssize_t step) { return step % view.itemsize == 0; });
        if (!fits || (written && !by_rows() && !by_columns())) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned matrix of float32 or float64" +
                   (written ? ", without gaps" : ""));
        }
    }
    ~StridedMatrix() { PyBuffer_Release(&view); }
    StridedMatrix(const StridedMatrix &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    template <class T> operator T *() const { return static_cast<T *>(view.buf); }
    template <class T> operator Matrix<T>() const {
        const long size = static_cast<long>(view.itemsize);
        return {static_cast<T *>(view.buf), rows(), columns(), static_cast<long>(strides()[0]) / size,
                static_cast<long>(strides()[1]) / size};
    }
    long rows() const { return static_cast<long>(shape()[0]); }
    long columns() const { return static_cast<long>(shape()[1]); }

    // Of a stack: its matrices, the step from one to the next in numbers, and whether there are no gaps between them.
    long count() const { return static_cast<long>(view.shape[0]); }
    long step() const { return static_cast<long>(view.strides[0] / view.itemsize); }
    bool without_gaps() const { return by_rows() && (count() <= 1 || step() == rows() * columns()); }

    // Whether rows, or columns, lie one after another without gaps.
    bool by_rows() const { return is_dense(1, 0); }
    bool by_columns() const { return is_dense(0, 1); }
    bool stored_as(const StridedMatrix &other) const {
        return rows() == other.rows() && columns() == other.columns() &&
               ((by_rows() && other.by_rows()) || (by_columns() && other.by_columns()));
    }

    // The bytes [low, high) that it lies in.
    std::pair<const char *, const char *> extent() const {
        const char *low = static_cast<const char *>(view.buf), *high = low + view.itemsize;
        for (int axis = 0; axis < view.ndim; axis++) {
            if (view.shape[axis] == 0) return {low, low};
            const Py_ssize_t reach = (view.shape[axis] - 1) * view.strides[axis];
            (reach < 0 ? low : high) += reach;
        }
        return {low, high};
    }

  private:
    Py_buffer view;

    const Py_ssize_t *shape() const { return view.shape + view.ndim - 2; } // of a matrix
    const Py_ssize_t *strides() const { return view.strides + view.ndim - 2; }
    bool is_dense(int inner, int outer) const {
        return (strides()[inner] == view.itemsize || shape()[inner] <= 1) &&
               (strides()[outer] == shape()[inner] * view.itemsize || shape()[outer] <= 1);
    }
};

// Refuse operands of other dtypes than the result, and those that overlap it.
void check_operands(const StridedMatrix &result, std::initializer_list<const StridedMatrix *> operands) {
    const auto [low, high] = result.extent();
    for (const StridedMatrix *operand : operands) {
        if (operand->is_double() != result.is_double()) refuse("arrays must have one dtype");
        const auto [first, end] = operand->extent();
        if (first < high && low < end) refuse("the result must not overlap an operand");
    }
}

// Refuse a vector that overlaps a matrix.
void check_apart(const StridedMatrix &matrix, const Array *vector) {
    const auto [low, high] = matrix.extent();
    if (vector && vector->meets(low, high)) refuse("the result must not overlap an operand");
}

// Refuse a vector that does not have the dtype and the columns of a matrix, or overlaps it.
void check_vector(const StridedMatrix &matrix, const Array *vector) {
    if (!vector) return;
    if (vector->is_double() != matrix.is_double() || vector->ndim() != 1 || vector->length(0) != matrix.columns())
        refuse("a bias must have the dtype and the columns of its matrix");
    check_apart(matrix, vector);
}

template <class T> Matrix<T> transposed(const Matrix<T> &a) {
    return {a.data, a.columns, a.rows, a.column_step, a.row_step};
}

// y = a b + bias as a product whose result has contiguous columns: that of the transposed matrices, if y has not.
template <class T>
Product<T> product(const StridedMatrix &a, const Matrix<T> &b, const StridedMatrix &y, const T *bias = nullptr) {
    Product<T> p{a, b, y, y.columns(), bias};
    if (y.by_rows()) return p;
    return {transposed(b), transposed(p.a), y, y.rows(), nullptr, bias};
}

// matmul(a, b, y) writes y = a b.
PyObject *matmul(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 3);
    StridedMatrix a(arguments[0], "a"), b(arguments[1], "b"), y(arguments[2], "y", true);
    check_operands(y, {&a, &b});
    if (a.columns() != b.rows() || y.rows() != a.rows() || y.columns() != b.columns()) refuse("a, b and y do not fit");
    return call(y, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        kernels.products({product<T>(a, b, y)});
    });
}

// stacked_matmul(a, b, y) writes y[i] = a[i] b[i]; y has no gaps.
PyObject *stacked_matmul(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 3);
    StridedMatrix a(arguments[0], "a", false, 3), b(arguments[1], "b", false, 3), y(arguments[2], "y", true, 3);
    check_operands(y, {&a, &b});
    if (a.columns() != b.rows() || y.rows() != a.rows() || y.columns() != b.columns() || a.count() != y.count() ||
        b.count() != y.count() || !y.without_gaps())
        refuse("a, b and y do not fit");
    return call(y, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        std::vector<Product<T>> all;
        for (long i = 0; i < y.count(); i++) {
            all.push_back({a, b, static_cast<T *>(y) + i * y.step(), y.columns()});
            all.back().a.data += i * a.step();
            all.back().b.data += i * b.step();
        }
        kernels.stacked_products(all);
    });
}

// dense(x, w, bias or None, program or None, z, y) writes z = x w + bias and y = f(z), f being the program; z and y may
// be one array.
PyObject *dense(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 6);
    StridedMatrix x(a[0], "x"), w(a[1], "w"), z(a[4], "z", true), y(a[5], "y", true);
    OptionalArray bias(a[2], "bias");
    std::optional<ParsedProgram> f;
    if (a[3] != Py_None) f.emplace(a[3], 1);
    check_operands(z, {&x, &w});
    check_vector(z, bias.get());
    check_vector(y, bias.get());
    check_operands(y, {&x, &w});
    if (x.columns() != w.rows() || z.rows() != x.rows() || z.columns() != w.columns() || !y.stored_as(z))
        refuse("x, w, z and y do not fit");
    if (a[4] != a[5]) check_operands(y, {&z});
    return call(y, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        Product<T> xw = product<T>(x, w, z, bias);
        Program<T> after;
        if (f) {
            after = f->template on<T>({xw.y}, y);
            xw.after = &after;
        }
        kernels.products({xw});
    });
}

// dense_gradient(dz, x, w, dw, db or None, dx or None, program or None, z) writes dw = xT dz, db = sum of the rows of
// dz, and dx = dz wT; or dx = g(z, dz wT), g being the program and z an array that is stored as dx.
PyObject *dense_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 8);
    StridedMatrix dz(a[0], "dz"), x(a[1], "x"), w(a[2], "w"), dw(a[3], "dw", true);
    OptionalArray db(a[4], "db", true);
    std::optional<StridedMatrix> dx, z;
    std::optional<ParsedProgram> g;
    check_operands(dw, {&dz, &x, &w});
    check_vector(dz, db.get());
    for (const StridedMatrix *matrix : {&x, &w, &dw}) check_apart(*matrix, db.get());
    if (x.rows() != dz.rows() || dw.rows() != x.columns() || dw.columns() != dz.columns() || w.rows() != dw.rows() ||
        w.columns() != dw.columns() || !dw.by_rows())
        refuse("x, w, dz and dw do not fit");
    if (a[5] != Py_None) {
        dx.emplace(a[5], "dx", true);
        check_operands(*dx, {&dz, &x, &w, &dw});
        check_apart(*dx, db.get());
        if (dx->rows() != x.rows() || dx->columns() != x.columns()) refuse("dx must have the shape of x");
        if (a[6] != Py_None) {
            g.emplace(a[6], 2);
            z.emplace(a[7], "z");
            check_operands(*dx, {&*z});
            check_operands(dw, {&*z});
            if (!z->stored_as(*dx)) refuse("z must be stored as dx");
        }
    }
    return call(dw, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        std::vector<Product<T>> all;
        Program<T> after;
        if (dx) {
            all.push_back(product<T>(dz, transposed<T>(w), *dx));
            if (g) {
                after = g->template on<T>({*z, *dx}, *dx);
                all.back().after = &after;
            }
        }
        Product<T> gradient{transposed<T>(x), dz, dw, dw.columns()};
        gradient.column_sums = db;
        all.push_back(gradient);
        kernels.products(all);
    });
}

} // namespace

PyMethodDef product_functions[] = {
    FUNCTION(matmul), FUNCTION(stacked_matmul), FUNCTION(dense), FUNCTION(dense_gradient), END_OF_FUNCTIONS,
};
