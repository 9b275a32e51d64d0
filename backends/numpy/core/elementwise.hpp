// Elementwise programs: an activation, a loss or its derivative as a list of instructions, run on a few hundred numbers
// at a time, so that all values between the arguments and the result stay in the cache. One pass over memory, whatever
// the function, and shared by all threads.

constexpr long block_length = 256; // numbers in a register of a program

// A boolean is a number of all bits, or of none.
template <class T> INLINE Vec<T> boolean(Ints<T> mask) { return (Vec<T>)mask; }
template <class T> INLINE Ints<T> bits(Vec<T> v) { return (Ints<T>)v; }

// to[i] = f(a[i], b[i], c[i]) for a block.
template <class T, class Function> INLINE void each(T *to, const T *a, const T *b, const T *c, const Function &f) {
    for (long i = 0; i < block_length; i += lanes<T>) store(to + i, f(load(a + i), load(b + i), load(c + i)));
}

// sin(x + quadrant π/2); of large numbers by the standard library. `a` may be `to`.
template <class T, class Exact> void periodic(T *to, const T *a, typename Format<T>::Int quadrant, const Exact &exact) {
    for (long i = 0; i < block_length; i += lanes<T>) {
        const Vec<T> x = load(a + i);
        Vec<T> y = sin<T>(x, quadrant);
        for (long j = 0; j < lanes<T>; j++)
            if (std::abs(x[j]) > Format<T>::sin_most) y[j] = exact(x[j]);
        store(to + i, y);
    }
}

template <class T> void execute(Operation operation, T *to, const T *a, const T *b, const T *c) {
    using V = Vec<T>;
    switch (operation) {
    case Operation::add: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return x + y; });
    case Operation::subtract: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return x - y; });
    case Operation::multiply: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return x * y; });
    case Operation::divide: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return x / y; });
    case Operation::negative: return each(to, a, b, c, [](V x, V, V) LAMBDA { return -x; });
    case Operation::abs: return each(to, a, b, c, [](V x, V, V) LAMBDA { return abs<T>(x); });
    case Operation::sign: // of 0 and NaN themselves
        return each(to, a, b, c, [](V x, V, V) LAMBDA {
            return x > T(0) ? broadcast(T(1)) : x < T(0) ? broadcast(T(-1)) : x;
        });
    // NaN passes through, as in NumPy.
    case Operation::maximum: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return ((x > y) | (x != x)) ? x : y; });
    case Operation::minimum: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return ((x < y) | (x != x)) ? x : y; });
    case Operation::less: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x < y); });
    case Operation::less_equal: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x <= y); });
    case Operation::greater: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x > y); });
    case Operation::greater_equal: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x >= y); });
    case Operation::equal: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x == y); });
    case Operation::not_equal: return each(to, a, b, c, [](V x, V y, V) LAMBDA { return boolean<T>(x != y); });
    case Operation::where: return each(to, a, b, c, [](V x, V y, V z) LAMBDA { return bits<T>(x) ? y : z; });
    case Operation::as_number:
        return each(to, a, b, c, [](V x, V, V) LAMBDA { return bits<T>(x) ? broadcast(T(1)) : V{}; });
    case Operation::as_boolean: return each(to, a, b, c, [](V x, V, V) LAMBDA { return boolean<T>(x != T(0)); });
    case Operation::sqrt:
        for (long i = 0; i < block_length; i++) to[i] = std::sqrt(a[i]);
        return;
    case Operation::sin: return periodic(to, a, 0, [](T x) { return std::sin(x); });
    case Operation::cos: return periodic(to, a, 1, [](T x) { return std::cos(x); });
    case Operation::erfcx: return each(to, a, b, c, [](V x, V, V) LAMBDA { return erfcx<T>(x); });
    case Operation::exp: return each(to, a, b, c, [](V x, V, V) LAMBDA { return exp<T>(x); });
    case Operation::expm1: return each(to, a, b, c, [](V x, V, V) LAMBDA { return expm1<T>(x); });
    case Operation::log: return each(to, a, b, c, [](V x, V, V) LAMBDA { return log<T>(x); });
    case Operation::log1p: return each(to, a, b, c, [](V x, V, V) LAMBDA { return log1p<T>(x); });
    case Operation::tanh: return each(to, a, b, c, [](V x, V, V) LAMBDA { return tanh<T>(x); });
    case Operation::sigmoid: return each(to, a, b, c, [](V x, V, V) LAMBDA { return sigmoid<T>(x); });
    case Operation::copy: return each(to, a, b, c, [](V x, V, V) LAMBDA { return x; });
    case Operation::count: return;
    }
}

// The first of some rows of numbers, and the step from one row to the next.
template <class T> struct Rows {
    T *data;
    long step;
};

// Runs a program on blocks of its arrays. Values lie in registers of block_length numbers: arguments first, then
// constants, then results of instructions.
template <class T> class Interpreter {
  public:
    explicit Interpreter(const Program<T> &program)
        : program(program), memory(program.n_values * block_length), n_arguments(program.arguments.size()),
          used(program.n_values) {
        for (std::size_t i = 0; i < program.constants.size(); i++)
            std::fill_n(reg(n_arguments + i), block_length, program.constants[i]);
        std::fill_n(memory.data(), n_arguments * block_length, T(1)); // what a short block does not fill
        for (const Instruction &i : program.instructions) used[i.a] = used[i.b] = used[i.c] = true;
    }

    // For rows of so many numbers, the first number at `first` and the rows `step` apart.
    void run(long first, long rows, long columns, long step) {
        if (rows > 1 && columns == step) return run(first, 1, rows * columns, 0);
        std::vector<Rows<const T>> arguments;
        for (const T *argument : program.arguments) arguments.push_back({argument + first, step});
        run(rows, columns, arguments, {{program.result + first, step}});
    }

    // For rows of so many numbers, in other arrays than those of the program; the last instructions give the results.
    void run(long rows, long columns, const std::vector<Rows<const T>> &arguments,
             const std::vector<Rows<T>> &results) {
        const long at_once = std::max(1l, block_length / columns); // rows
        for (long row = 0; row < rows; row += at_once)
            for (long column = 0; column < columns; column += block_length)
                run_block(row, std::min(at_once, rows - row), column, std::min(block_length, columns - column),
                          arguments, results);
    }

  private:
    const Program<T> &program;
    std::vector<T> memory;
    long n_arguments;
    std::vector<char> used; // whether an instruction takes a value

    T *reg(long number) { return &memory[number * block_length]; }

    void run_block(long row, long rows, long column, long columns, const std::vector<Rows<const T>> &arguments,
                   const std::vector<Rows<T>> &results) {
        const bool direct = columns == block_length; // a full block is read and written where it is
        const auto copy = [&](const T *from, long from_step, T *to, long to_step) {
            for (long r = 0; r < rows; r++) std::memcpy(to + r * to_step, from + r * from_step, sizeof(T) * columns);
        };
        const T *values[max_values];
        for (long i = 0; i < program.n_values; i++) values[i] = reg(i);
        for (long i = 0; i < n_arguments; i++) {
            const T *from = arguments[i].data + row * arguments[i].step + column;
            if (direct) values[i] = from;
            else if (used[i]) copy(from, arguments[i].step, reg(i), columns);
        }
        long number = n_arguments + static_cast<long>(program.constants.size());
        const long first_result = program.n_values - static_cast<long>(results.size());
        for (const Instruction &i : program.instructions) {
            const Rows<T> *result = number < first_result ? nullptr : &results[number - first_result];
            T *to = result ? result->data + row * result->step + column : nullptr;
            execute(i.operation, direct && to ? to : reg(number), values[i.a], values[i.b], values[i.c]);
            if (direct && to) values[number] = to;
            else if (to) copy(reg(number), columns, to, result->step);
            number++;
        }
    }
};

// The last instruction of the program gives f, the one before it f'. Return the mean of f, and write f' / n to the
// result. Parts are summed in their order, on any number of threads.
template <class T> T mean_of_program(const Program<T> &program, long n) {
    const long blocks = (n + block_length - 1) / block_length;
    const long parts = parts_for(blocks, 8.0 * n * program.instructions.size());
    std::vector<double> sums(parts);
    pool::run(parts, [&](long part) {
        const long first = part * blocks / parts * block_length, end = (part + 1) * blocks / parts * block_length;
        Interpreter<T> interpreter(program);
        std::vector<Rows<const T>> arguments(program.arguments.size());
        T terms[block_length];
        double total = 0;
        for (long i = first; i < std::min(end, n); i += block_length) {
            const long length = std::min(block_length, n - i);
            for (std::size_t j = 0; j < arguments.size(); j++) arguments[j] = {program.arguments[j] + i, 0};
            interpreter.run(1, length, arguments, {{program.result + i, 0}, {terms, 0}});
            for (long j = i; j < i + length; j++) program.result[j] *= T(1) / n;
            total += sum(terms, length);
        }
        sums[part] = total;
    });
    return static_cast<T>(std::accumulate(sums.begin(), sums.end(), 0.0) / n);
}

template <class T> void run_program(const Program<T> &program, long n) {
    if (n == 0) return;
    const long blocks = (n + block_length - 1) / block_length;
    const long parts = parts_for(blocks, 8.0 * n * program.instructions.size());
    pool::run(parts, [&](long part) {
        const long first = part * blocks / parts * block_length, end = (part + 1) * blocks / parts * block_length;
        Interpreter<T>(program).run(first, 1, std::min(end, n) - first, 0);
    });
}
