// An elementwise program as Python gives it: a tuple (operations, constants).
#pragma once

#include "boundary.hpp"

// Operations are a bytes object with four bytes each: the number of the operation, and those of up to three values.
class ParsedProgram {
  public:
    ParsedProgram(PyObject *tuple, long n_arguments) {
        char *bytes;
        Py_ssize_t length;
        if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 2)
            refuse("a program must be a tuple (operations, constants)");
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, 0), &bytes, &length)) throw PythonError();
        PyObject *numbers = PyTuple_GetItem(tuple, 1);
        if (length == 0 || length % 4) refuse("operations must have four bytes each");
        if (!PyTuple_Check(numbers)) refuse("constants must be a tuple");
        const long n_constants = static_cast<long>(PyTuple_Size(numbers));
        for (long i = 0; i < n_constants; i++) constants.push_back(number(PyTuple_GetItem(numbers, i)));
        n_values = n_arguments + n_constants + length / 4;
        if (n_values > max_values) refuse("the program has too many values");
        for (long i = 0; i < length / 4; i++) {
            const unsigned char *code = reinterpret_cast<unsigned char *>(bytes) + 4 * i;
            const long known = n_arguments + n_constants + i;
            if (code[0] >= static_cast<int>(Operation::count) || code[1] >= known || code[2] >= known ||
                code[3] >= known)
                refuse("an operation or a value is unknown");
            instructions.push_back({static_cast<Operation>(code[0]), code[1], code[2], code[3]});
        }
    }

    void check_results(long n) const {
        if (n > static_cast<long>(instructions.size())) refuse("the program has too few results");
    }

    template <class T> Program<T> on(std::vector<const T *> arguments, T *result) const {
        return {std::move(arguments), {constants.begin(), constants.end()}, instructions, result, n_values};
    }

  private:
    std::vector<double> constants;
    std::vector<Instruction> instructions;
    long n_values;
};
