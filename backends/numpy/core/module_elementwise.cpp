// Elementwise programs for Python.
#include "boundary.hpp"

namespace {

// run_program(operations, constants, arguments, result): operations are a bytes object with four bytes each, the number
// of the operation and of up to three values.
PyObject *run_program(PyObject *const *a, Py_ssize_t count) {
    expect(count, 4);
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(a[0], &bytes, &length)) throw PythonError();
    if (length == 0 || length % 4) refuse("operations must have four bytes each");
    if (!PyTuple_Check(a[1]) || !PyTuple_Check(a[2])) refuse("constants and arguments must be tuples");
    const long n_constants = static_cast<long>(PyTuple_Size(a[1])), n_arguments = static_cast<long>(PyTuple_Size(a[2]));
    Array result(a[3], "result", true);
    std::vector<std::unique_ptr<Array>> arguments;
    for (long i = 0; i < n_arguments; i++) {
        arguments.emplace_back(new Array(PyTuple_GetItem(a[2], i), "argument"));
        check(result, {arguments.back().get()});
        if (arguments.back()->size() != result.size()) refuse("arguments must have the size of the result");
    }
    std::vector<double> constants;
    for (long i = 0; i < n_constants; i++) constants.push_back(PyFloat_AsDouble(PyTuple_GetItem(a[1], i)));
    if (PyErr_Occurred()) throw PythonError();
    std::vector<Instruction> instructions;
    for (long i = 0; i < length / 4; i++) {
        const unsigned char *code = reinterpret_cast<unsigned char *>(bytes) + 4 * i;
        const long known = n_arguments + n_constants + i;
        if (code[0] >= static_cast<int>(Operation::count) || code[1] >= known || code[2] >= known || code[3] >= known)
            refuse("an operation or a value is unknown");
        instructions.push_back({static_cast<Operation>(code[0]), code[1], code[2], code[3]});
    }
    return call(result, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        Program<T> program{{},
                           {constants.begin(), constants.end()},
                           instructions,
                           result,
                           n_arguments + n_constants + static_cast<long>(instructions.size())};
        for (const auto &argument : arguments) program.arguments.push_back(*argument);
        kernels.run_program(program, result.size());
    });
}

} // namespace

PyMethodDef elementwise_functions[] = {FUNCTION(run_program), END_OF_FUNCTIONS};
