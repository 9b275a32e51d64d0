// The Python module: checks arguments, chooses the kernels for the instruction set and the dtype, and releases the GIL.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "common.hpp"

namespace v4 {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
} // namespace v4
namespace v3 {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
} // namespace v3
namespace baseline {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
} // namespace baseline

namespace {

struct Level {
    const char *name;
    const Kernels<float> *floats;
    const Kernels<double> *doubles;
};

// The best instruction set that this processor has.
Level best_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return {"x86-64-v4", &v4::float_kernels, &v4::double_kernels};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return {"x86-64-v3", &v3::float_kernels, &v3::double_kernels};
    return {"x86-64", &baseline::float_kernels, &baseline::double_kernels};
#elif defined(__aarch64__)
    return {"aarch64", &baseline::float_kernels, &baseline::double_kernels};
#else
    return {"baseline", &baseline::float_kernels, &baseline::double_kernels};
#endif
}

Level level = best_level();

template <class T> const Kernels<T> &kernels();
template <> const Kernels<float> &kernels() { return *level.floats; }
template <> const Kernels<double> &kernels() { return *level.doubles; }

// An error of Python is set already.
struct PythonError {};

[[noreturn]] void refuse(const std::string &message) { throw std::invalid_argument(message); }

// A C-contiguous array of float or double, held while a kernel runs.
class Array {
  public:
    Array(PyObject *object, const char *name, bool written = false) {
        if (PyObject_GetBuffer(object, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0)))
            throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        if ((kind != 'f' && kind != 'd') || reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned array of float32 or float64");
        }
    }
    ~Array() { PyBuffer_Release(&view); }
    Array(const Array &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    int ndim() const { return view.ndim; }
    long length(int axis) const { return static_cast<long>(view.shape[axis < 0 ? view.ndim + axis : axis]); }
    template <class T> T *data() const { return static_cast<T *>(view.buf); }
    bool overlaps(const Array &other) const {
        const char *here = static_cast<const char *>(view.buf), *there = static_cast<const char *>(other.view.buf);
        return here < there + other.view.len && there < here + view.len;
    }

  private:
    Py_buffer view;
};

// A matrix of float or double with any steps, held while a kernel runs.
class Steps {
  public:
    Steps(PyObject *object, const char *name, bool written = false) {
        if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0)))
            throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        const bool fits = (kind == 'f' || kind == 'd') && view.ndim == 2 && reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize == 0 &&
                          view.strides[0] % view.itemsize == 0 && view.strides[1] % view.itemsize == 0;
        if (!fits) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned matrix of float32 or float64");
        }
    }
    ~Steps() { PyBuffer_Release(&view); }
    Steps(const Steps &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    template <class T> Matrix<T> matrix() const {
        const long size = static_cast<long>(view.itemsize);
        return {static_cast<T *>(view.buf), static_cast<long>(view.shape[0]), static_cast<long>(view.shape[1]),
                static_cast<long>(view.strides[0]) / size, static_cast<long>(view.strides[1]) / size};
    }
    long rows() const { return static_cast<long>(view.shape[0]); }
    long columns() const { return static_cast<long>(view.shape[1]); }

  private:
    Py_buffer view;
};

// Refuse arrays of different dtypes, and a result that overlaps an operand.
void check(const Array &result, std::initializer_list<const Array *> operands) {
    for (const Array *operand : operands) {
        if (operand->is_double() != result.is_double()) refuse("arrays must have one dtype");
        if (operand->overlaps(result)) refuse("the result must not overlap an operand");
    }
}

long integer(PyObject *object) {
    const long value = PyLong_AsLong(object);
    if (value == -1 && PyErr_Occurred()) throw PythonError();
    return value;
}

// While it lives, other threads may run Python.
class WithoutGIL {
  public:
    WithoutGIL() : state(PyEval_SaveThread()) {}
    ~WithoutGIL() { PyEval_RestoreThread(state); }

  private:
    PyThreadState *state;
};

// Call a kernel without the GIL: f(T()) with T float or double.
template <class Function> void call(bool is_double, const Function &f) {
    WithoutGIL released;
    if (is_double) f(double());
    else f(float());
}

// A function of Python from one of C++ that throws.
template <PyObject *(*function)(PyObject *const *, Py_ssize_t)>
PyObject *guarded(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    try {
        return function(arguments, count);
    } catch (const PythonError &) {
    } catch (const std::bad_alloc &) {
        PyErr_NoMemory();
    } catch (const std::invalid_argument &error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    }
    return nullptr;
}

void expect(Py_ssize_t count, Py_ssize_t wanted) {
    if (count != wanted) refuse("wrong number of arguments");
}

// One number for each axis, the first axes of three being those that are missing.
void read_axes(PyObject *tuple, int n_axes, long missing, long least, long (&numbers)[3]) {
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != n_axes) refuse("give one number for each axis");
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes);
        numbers[axis] = given < 0 ? missing : integer(PyTuple_GetItem(tuple, given));
        if (numbers[axis] < least) refuse("strides, dilations and paddings must not be so small");
    }
}

// The convolution of x (*input, C, N) with w (*window, C / groups, O) to y (*output, O, N).
Convolution read_convolution(const Array &x, const Array &w, const Array &y, PyObject *const *settings) {
    const int n_axes = x.ndim() - 2;
    if (n_axes < 1 || n_axes > 3 || w.ndim() != x.ndim() || y.ndim() != x.ndim())
        refuse("x, w and y must have 1 to 3 spatial axes, and two more");
    Convolution s;
    read_axes(settings[0], n_axes, 1, 1, s.stride);
    read_axes(settings[1], n_axes, 1, 1, s.dilation);
    read_axes(settings[2], n_axes, 0, 0, s.padding);
    s.groups = integer(settings[3]);
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes);
        s.input[axis] = given < 0 ? 1 : x.length(given);
        s.window[axis] = given < 0 ? 1 : w.length(given);
        s.output[axis] = given < 0 ? 1 : y.length(given);
    }
    s.images = x.length(-1);
    s.channels = w.length(-2);
    if (s.groups < 1 || w.length(-1) % s.groups || s.channels * s.groups != x.length(-2) || y.length(-2) != w.length(-1) ||
        y.length(-1) != s.images)
        refuse("x, w and y do not fit: channels, groups or images");
    s.outputs = w.length(-1) / s.groups;
    if (s.window[0] * s.window[1] * s.window[2] > max_window) refuse("the window has too many positions");
    return s;
}

// conv(x, w, y, stride, dilation, padding, groups) writes y.
PyObject *conv(PyObject *const *a, Py_ssize_t count) {
    expect(count, 7);
    Array x(a[0], "x"), w(a[1], "w"), y(a[2], "y", true);
    check(y, {&x, &w});
    const Convolution s = read_convolution(x, w, y, a + 3);
    call(y.is_double(), [&](auto zero) {
        using T = decltype(zero);
        kernels<T>().conv(s, x.data<T>(), w.data<T>(), y.data<T>());
    });
    Py_RETURN_NONE;
}

// conv_input_gradient(dy, w, dx, stride, dilation, padding, groups) writes dx.
PyObject *conv_input_gradient(PyObject *const *a, Py_ssize_t count) {
    expect(count, 7);
    Array dy(a[0], "dy"), w(a[1], "w"), dx(a[2], "dx", true);
    check(dx, {&dy, &w});
    const Convolution s = read_convolution(dx, w, dy, a + 3);
    call(dx.is_double(), [&](auto zero) {
        using T = decltype(zero);
        kernels<T>().conv_input_gradient(s, dy.data<T>(), w.data<T>(), dx.data<T>());
    });
    Py_RETURN_NONE;
}

// conv_weight_gradient(x, dy, dw, stride, dilation, padding, groups) writes dw.
PyObject *conv_weight_gradient(PyObject *const *a, Py_ssize_t count) {
    expect(count, 7);
    Array x(a[0], "x"), dy(a[1], "dy"), dw(a[2], "dw", true);
    check(dw, {&x, &dy});
    const Convolution s = read_convolution(x, dw, dy, a + 3);
    call(dw.is_double(), [&](auto zero) {
        using T = decltype(zero);
        kernels<T>().conv_weight_gradient(s, x.data<T>(), dy.data<T>(), dw.data<T>());
    });
    Py_RETURN_NONE;
}

// matmul(a, b, y) writes y = a b; matmul(a, b, y, start) adds the vector start to each row.
PyObject *matmul(PyObject *const *a, Py_ssize_t count) {
    if (count != 3 && count != 4) refuse("wrong number of arguments");
    Steps left(a[0], "a"), right(a[1], "b");
    Array y(a[2], "y", true);
    if (left.is_double() != y.is_double() || right.is_double() != y.is_double()) refuse("arrays must have one dtype");
    if (left.columns() != right.rows() || y.ndim() != 2 || y.length(0) != left.rows() || y.length(1) != right.columns())
        refuse("a, b and y do not fit");
    std::unique_ptr<Array> start(count == 4 ? new Array(a[3], "start") : nullptr);
    if (start && (start->is_double() != y.is_double() || start->ndim() != 1 || start->length(0) != y.length(1)))
        refuse("start does not fit");
    call(y.is_double(), [&](auto zero) {
        using T = decltype(zero);
        kernels<T>().product(left.matrix<T>(), right.matrix<T>(), start ? start->data<T>() : nullptr, y.data<T>(), y.length(1));
    });
    Py_RETURN_NONE;
}

PyObject *instruction_set(PyObject *const *, Py_ssize_t count) {
    expect(count, 0);
    return PyUnicode_FromString(level.name);
}

PyObject *get_num_threads(PyObject *const *, Py_ssize_t count) {
    expect(count, 0);
    return PyLong_FromLong(pool::threads());
}

PyObject *set_num_threads(PyObject *const *a, Py_ssize_t count) {
    expect(count, 1);
    pool::set_threads(static_cast<int>(integer(a[0])));
    Py_RETURN_NONE;
}

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))guarded<name>, METH_FASTCALL, nullptr}

PyMethodDef functions[] = {
    FUNCTION(conv),
    FUNCTION(conv_input_gradient),
    FUNCTION(conv_weight_gradient),
    FUNCTION(matmul),
    FUNCTION(instruction_set),
    FUNCTION(get_num_threads),
    FUNCTION(set_num_threads),
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "Compiled kernels of the NumPy backend.", -1, functions, nullptr, nullptr, nullptr, nullptr,
};

} // namespace

PyMODINIT_FUNC PyInit__core(void) {
    pool::handle_forks();
    return PyModule_Create(&definition);
}
