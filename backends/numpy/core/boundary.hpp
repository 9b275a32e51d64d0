// What the functions of the Python module share: checks of their arguments, errors, and calls without the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

#include "common.hpp"

// The kernels for the instruction set of this processor.
template <class T> const Kernels<T> &kernels();
template <> const Kernels<float> &kernels();
template <> const Kernels<double> &kernels();

// An error of Python is set already.
struct PythonError {};

[[noreturn]] inline void refuse(const std::string &message) { throw std::invalid_argument(message); }

// A C-contiguous array of float or double, or of int64 or uint16, held while a kernel runs.
class Array {
  public:
    enum Numbers { floating, int64, uint16 };

    Array(PyObject *object, const char *name, bool written = false, Numbers numbers = floating) {
        if (PyObject_GetBuffer(object, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0)))
            throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        const bool fits = numbers == floating ? kind == 'f' || kind == 'd'
                          : numbers == int64  ? (kind == 'l' || kind == 'q') && view.itemsize == 8
                                              : kind == 'H';
        if (!fits || reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned array of " +
                   (numbers == floating ? "float32 or float64"
                    : numbers == int64  ? "int64"
                                        : "uint16"));
        }
    }
    ~Array() { PyBuffer_Release(&view); }
    Array(const Array &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    int ndim() const { return view.ndim; }
    long length(int axis) const { return static_cast<long>(view.shape[axis < 0 ? view.ndim + axis : axis]); }
    long size() const { return static_cast<long>(view.len / view.itemsize); }
    bool same_shape(const Array &other) const {
        return view.ndim == other.view.ndim && std::equal(view.shape, view.shape + view.ndim, other.view.shape);
    }
    template <class T> operator T *() const { return static_cast<T *>(view.buf); }
    // Whether it has a byte in [low, high).
    bool meets(const char *low, const char *high) const {
        const char *here = static_cast<const char *>(view.buf);
        return here < high && low < here + view.len;
    }
    bool overlaps(const Array &other) const {
        const char *there = static_cast<const char *>(other.view.buf);
        return meets(there, there + other.view.len);
    }

  private:
    Py_buffer view;
};

// An array or None.
class OptionalArray {
  public:
    OptionalArray(PyObject *object, const char *name, bool written = false) {
        if (object != Py_None) array.emplace(object, name, written);
    }
    template <class T> operator T *() const { return array ? static_cast<T *>(*array) : nullptr; }
    const Array *get() const { return array ? &*array : nullptr; }

  private:
    std::optional<Array> array;
};

// Refuse arrays of different dtypes, and a result that overlaps an operand.
inline void check_operands(const Array &result, std::initializer_list<const Array *> operands) {
    for (const Array *operand : operands) {
        if (operand->is_double() != result.is_double()) refuse("arrays must have one dtype");
        if (operand->overlaps(result)) refuse("the result must not overlap an operand");
    }
}

inline long integer(PyObject *object) {
    const long value = PyLong_AsLong(object);
    if (value == -1 && PyErr_Occurred()) throw PythonError();
    return value;
}

inline double number(PyObject *object) {
    const double value = PyFloat_AsDouble(object);
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

// Call f(kernels) without the GIL, with the kernels for the dtype of the result; return None.
template <class Result, class Function> PyObject *call(const Result &result, const Function &f) {
    {
        WithoutGIL released;
        pool::FlushingToZero flushing;
        if (result.is_double()) f(kernels<double>());
        else f(kernels<float>());
    }
    Py_RETURN_NONE;
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
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

inline void check_argument_count(Py_ssize_t count, Py_ssize_t wanted) {
    if (count != wanted) refuse("wrong number of arguments");
}

// Read one number for each axis into the last of three; fill the first with `missing`.
inline void read_axes(PyObject *tuple, int n_axes, long missing, long (&numbers)[3]) {
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != n_axes) refuse("give one number for each axis");
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes);
        numbers[axis] = given < 0 ? missing : integer(PyTuple_GetItem(tuple, given));
        if (numbers[axis] < 1) refuse("sizes, strides and dilations must be at least 1");
    }
}

// The padding before each axis from pairs (before, after).
inline void read_pads(PyObject *pairs, int n_axes, long (&before)[3]) {
    if (!PyTuple_Check(pairs) || PyTuple_Size(pairs) != n_axes) refuse("give one pair of pads for each axis");
    for (int axis = 0; axis < 3; axis++) {
        const int given = axis - (3 - n_axes);
        PyObject *pair = given < 0 ? nullptr : PyTuple_GetItem(pairs, given);
        if (pair && (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2)) refuse("give one pair of pads for each axis");
        before[axis] = pair ? integer(PyTuple_GetItem(pair, 0)) : 0;
        if (before[axis] < 0) refuse("pads must not be negative");
    }
}

// Lines of a table of functions.
template <PyObject *(*function)(PyObject *const *, Py_ssize_t)> PyMethodDef method(const char *name) {
    return {name, (PyCFunction)(void (*)(void))guarded<function>, METH_FASTCALL, nullptr};
}
#define FUNCTION(name) method<name>(#name)
#define END_OF_FUNCTIONS {nullptr, nullptr, 0, nullptr}
