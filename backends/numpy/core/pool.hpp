// One pool of threads for all kernels.
#pragma once

namespace pool {

// Work on one part of a job, 0 <= part < parts. Parts run in any order, on any thread.
using Work = void (*)(long part, const void *job);

// Call work(part, job) once for each part, on all threads of the pool; return when all are done. What a part throws is
// thrown again then.
void run(Work work, const void *job, long parts);

// The same for a function object.
template <class Function> void run(long parts, const Function &function) {
    run([](long part, const void *job) { (*static_cast<const Function *>(job))(part); }, &function, parts);
}

// The number of threads, the calling one included.
int threads();
void set_threads(int number);

// While it lives, results too small for a normal number become 0 in this thread, on x86-64. Processors compute with
// such numbers much more slowly, and networks have many: optimizer states of weights without a gradient, and
// probabilities near 0.
class FlushingToZero {
  public:
#if defined(__x86_64__)
    FlushingToZero() : before(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before | 1 << 15); }
    ~FlushingToZero() { __builtin_ia32_ldmxcsr(before); }
    FlushingToZero(const FlushingToZero &) = delete;

  private:
    unsigned before;
#else
    FlushingToZero() {} // other processors compute with them as fast
#endif
};

// Let a child process start without the threads of its parent. Call once.
void handle_forks();

} // namespace pool
