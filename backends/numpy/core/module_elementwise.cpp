// Elementwise programs for Python.
#include "program.hpp"

#define QUOTE(...) #__VA_ARGS__
#define TEXT(macro) QUOTE(macro)

namespace {

// run_program(program, arguments, result): the arguments, a tuple, have the size of the result.
PyObject *run_program(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 3);
    if (!PyTuple_Check(a[1])) refuse("arguments must be a tuple");
    const long n_arguments = static_cast<long>(PyTuple_Size(a[1]));
    const ParsedProgram program(a[0], n_arguments);
    Array result(a[2], "result", true);
    std::vector<std::unique_ptr<Array>> arguments;
    for (long i = 0; i < n_arguments; i++) {
        arguments.emplace_back(new Array(PyTuple_GetItem(a[1], i), "argument"));
        check_operands(result, {arguments.back().get()});
        if (arguments.back()->size() != result.size()) refuse("arguments must have the size of the result");
    }
    return call(result, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        std::vector<const T *> data;
        for (const auto &argument : arguments) data.push_back(*argument);
        kernels.run_program(program.on<T>(std::move(data), result), result.size());
    });
}

// operation_names() returns the names of the operations in the order of their numbers: "add, subtract, ..."
PyObject *operation_names(PyObject *const *, Py_ssize_t count) {
    check_argument_count(count, 0);
    return PyUnicode_FromString(TEXT(OPERATIONS));
}

} // namespace

PyMethodDef elementwise_functions[] = {FUNCTION(run_program), FUNCTION(operation_names), END_OF_FUNCTIONS};
