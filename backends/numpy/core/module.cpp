// The Python module: chooses the kernels for the instruction set, and defines the functions of convolutions and
// threads. Other functions are in files of their own, module_*.cpp.
#include "boundary.hpp"

extern PyMethodDef bias_functions[], elementwise_functions[], pooling_functions[], product_functions[],
    random_functions[], softmax_functions[], update_functions[];

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

} // namespace

template <> const Kernels<float> &kernels() { return *level.floats; }
template <> const Kernels<double> &kernels() { return *level.doubles; }

namespace {

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
    if (s.groups < 1 || w.length(-1) % s.groups || s.channels * s.groups != x.length(-2) ||
        y.length(-2) != w.length(-1) || y.length(-1) != s.images)
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

PyMethodDef functions[] = {
    FUNCTION(conv),
    FUNCTION(conv_input_gradient),
    FUNCTION(conv_weight_gradient),
    FUNCTION(instruction_set),
    FUNCTION(get_num_threads),
    FUNCTION(set_num_threads),
    END_OF_FUNCTIONS,
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_core",
    "Compiled kernels of the NumPy backend.",
    -1,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

} // namespace

PyMODINIT_FUNC PyInit__core(void) {
    pool::handle_forks();
    PyObject *module = PyModule_Create(&definition);
    if (!module) return nullptr;
    for (PyMethodDef *table : {functions, bias_functions, elementwise_functions, pooling_functions, product_functions,
                               random_functions, softmax_functions, update_functions})
        if (PyModule_AddFunctions(module, table)) {
            Py_DECREF(module);
            return nullptr;
        }
    return module;
}
