// The Python module: chooses the kernels for the instruction set, and defines the functions of threads.
// Those of kernels are in files of their own, module_*.cpp.
#include "boundary.hpp"

extern PyMethodDef attention_functions[], bias_functions[], cluster_functions[], convolution_functions[],
    elementwise_functions[], normalize_functions[], pooling_functions[], product_functions[], random_functions[],
    recurrence_functions[], softmax_functions[], update_functions[];

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

PyObject *instruction_set(PyObject *const *, Py_ssize_t count) {
    check_argument_count(count, 0);
    return PyUnicode_FromString(level.name);
}

PyObject *get_num_threads(PyObject *const *, Py_ssize_t count) {
    check_argument_count(count, 0);
    return PyLong_FromLong(pool::threads());
}

PyObject *set_num_threads(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 1);
    pool::set_threads(static_cast<int>(integer(a[0])));
    Py_RETURN_NONE;
}

// misalignment(memory, bytes): the bytes from a multiple of `bytes` to an array's address.
PyObject *misalignment(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 2);
    const long bytes = integer(a[1]);
    if (bytes < 1) refuse("bytes must be positive");
    Py_buffer view;
    if (PyObject_GetBuffer(a[0], &view, PyBUF_SIMPLE)) throw PythonError();
    const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(view.buf);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(address % bytes);
}

PyMethodDef functions[] = {
    FUNCTION(instruction_set), FUNCTION(misalignment), FUNCTION(get_num_threads),
    FUNCTION(set_num_threads), END_OF_FUNCTIONS,
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
    for (PyMethodDef *table : {functions, attention_functions, bias_functions, cluster_functions, convolution_functions,
                               elementwise_functions, normalize_functions, pooling_functions, product_functions,
                               random_functions, recurrence_functions, softmax_functions, update_functions})
        if (PyModule_AddFunctions(module, table)) {
            Py_DECREF(module);
            return nullptr;
        }
    return module;
}
