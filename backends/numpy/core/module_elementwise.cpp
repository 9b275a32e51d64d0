// Elementwise programs for Python.
#include "program.hpp"

#define QUOTE(...) #__VA_ARGS__
#define TEXT(macro) QUOTE(macro)

namespace {

// The arguments of a program, a tuple of arrays.
class Arguments {
  public:
    explicit Arguments(PyObject *tuple) {
        if (!PyTuple_Check(tuple)) refuse("arguments must be a tuple");
        for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++)
            arrays.emplace_back(new Array(PyTuple_GetItem(tuple, i), "argument"));
    }

    void check(const Array &result) const {
        for (const auto &array : arrays) {
            check_operands(result, {array.get()});
            if (array->size() != result.size()) refuse("arguments must have the size of the result");
        }
    }

    long size() const { return static_cast<long>(arrays.size()); }
    template <class T> std::vector<const T *> data() const {
        std::vector<const T *> pointers;
        for (const auto &array : arrays) pointers.push_back(*array);
        return pointers;
    }

  private:
    std::vector<std::unique_ptr<Array>> arrays;
};

// run_program(program, arguments, result): the arguments, a tuple, have the size of the result.
PyObject *run_program(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    const Arguments arguments(a[1]);
    const ParsedProgram program(a[0], arguments.size());
    Array result(a[2], "result", true);
    arguments.check(result);
    return call(result, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        kernels.run_program(program.on<T>(arguments.data<T>(), result), result.size());
    });
}

// mean_of_program(program, arguments, gradient, mean): the last instruction gives f, the one before it f'. Writes
// mean = sum(f) / n and gradient = f' / n. Each array of the tuple has n elements, as gradient has.
PyObject *mean_of_program(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 4);
    const Arguments arguments(a[1]);
    const ParsedProgram program(a[0], arguments.size());
    program.check_results(2);
    Array gradient(a[2], "gradient", true), mean(a[3], "mean", true);
    arguments.check(gradient);
    check_operands(mean, {&gradient});
    if (gradient.size() == 0 || mean.size() != 1) refuse("gradient must not be empty, and mean must have one element");
    return call(gradient, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        *static_cast<T *>(mean) =
            kernels.mean_of_program(program.on<T>(arguments.data<T>(), gradient), gradient.size());
    });
}

// operation_names() returns the names of the operations in the order of their numbers: "add, subtract, ..."
PyObject *operation_names(PyObject *const *, Py_ssize_t count) {
    check_argument_count(count, 0);
    return PyUnicode_FromString(TEXT(OPERATIONS));
}

} // namespace

PyMethodDef elementwise_functions[] = {
    FUNCTION(run_program),
    FUNCTION(mean_of_program),
    FUNCTION(operation_names),
    END_OF_FUNCTIONS,
};
