// One pool of threads, whose parts are claimed, not assigned: a thread that gets no core, on a busy machine, holds up
// nothing but the part it has begun.
//
// The parts of a job are divided into one range for each thread. A thread claims those of its own range first: from job
// to job it then works on the same rows, which its cache still holds. Then it claims what others have left.
//
// Workers spin for a short time after a job, since the next one mostly follows within microseconds, and then sleep: to
// wake one takes as long as a small job.
#include "pool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace pool {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto spinning_time = std::chrono::microseconds(500); // longer than what Python computes between two jobs
constexpr int max_threads = 256, spins_at_once = 64;           // between two looks at the clock
constexpr long max_parts = 0xffff;                             // of one job; one with more runs in the calling thread

std::atomic<int> wanted{1}; // threads, the caller included
int started = 1;            // threads that exist, the caller included; guarded by `one_job`

// The parts of one thread: the first that is unclaimed, and the end. The number of the job is in the same word, so that
// a claim that comes too late cannot take a part of the next job.
struct alignas(64) Range {
    std::atomic<std::uint64_t> word{0};

    void set(std::uint64_t job, long next, long end) {
        word = job << 32 | static_cast<std::uint64_t>(next) << 16 | static_cast<std::uint64_t>(end);
    }
    // Return the claimed part, or -1 if none is left.
    long claim() {
        for (std::uint64_t seen = word; next(seen) < end(seen);)
            if (word.compare_exchange_weak(seen, seen + (1 << 16))) return next(seen);
        return -1;
    }
    static long next(std::uint64_t w) { return w >> 16 & 0xffff; }
    static long end(std::uint64_t w) { return w & 0xffff; }
};

Range ranges[max_threads];
std::atomic<std::uint32_t> job_number{0};
Work job_work; // these are read only by a thread that has claimed a part
const void *job_data;
std::atomic<int> job_ranges{0};
std::atomic<long> parts_done{0};
std::atomic<bool> failed{false}; // whether a part of the job has thrown
std::exception_ptr error;        // what it threw; written by the first that sets `failed`

// Never destroyed, since workers outlive the end of main.
std::mutex &one_job = *new std::mutex; // held while a job runs
std::mutex &sleep_lock = *new std::mutex;
std::condition_variable &new_job = *new std::condition_variable;
std::atomic<int> n_sleeping{0};
thread_local bool in_parallel_region = false; // this thread runs a part: a job within it runs in this thread alone

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Do parts of the present job until none is left, beginning with those of one thread.
void claim_parts(int thread) {
    const int n = job_ranges;
    for (int i = 0; i < n; i++) {
        Range &range = ranges[(thread + i) % n];
        for (long part = range.claim(); part >= 0; part = range.claim()) {
            try {
                job_work(part, job_data);
            } catch (...) { // for the caller, who waits for all parts
                if (!failed.exchange(true)) error = std::current_exception();
            }
            ++parts_done;
        }
    }
}

// Return the number of a job that this thread has not seen.
std::uint32_t wait_for_job(std::uint32_t seen) {
    const auto end = Clock::now() + spinning_time;
    do {
        for (int i = 0; i < spins_at_once; i++) {
            if (job_number != seen) return job_number;
            relax();
        }
    } while (Clock::now() < end);
    std::unique_lock<std::mutex> lock(sleep_lock);
    ++n_sleeping;
    new_job.wait(lock, [&] { return job_number != seen; });
    --n_sleeping;
    return job_number;
}

void work(int thread) {
    in_parallel_region = true;
    const FlushingToZero flushing;
    for (std::uint32_t seen = 0;;) {
        seen = wait_for_job(seen);
        if (thread < wanted) claim_parts(thread);
    }
}

void start_workers() {
    try {
        for (; started < wanted; started++) std::thread(work, started).detach();
    } catch (const std::system_error &) { // no more threads: fewer will do
    }
}

} // namespace

void run(Work work, const void *job, long parts) {
    std::unique_lock<std::mutex> lock(one_job, std::defer_lock);
    if (parts < 2 || parts > max_parts || in_parallel_region || wanted < 2 || !lock.try_lock()) {
        for (long part = 0; part < parts; part++) work(part, job);
        return;
    }
    start_workers();
    const int n = wanted;
    const std::uint32_t number = job_number + 1;
    job_work = work;
    job_data = job;
    parts_done = 0;
    failed = false;
    job_ranges = n;
    for (int i = 0; i < n; i++) ranges[i].set(number, i * parts / n, (i + 1) * parts / n);
    job_number = number;
    if (n_sleeping) {
        std::lock_guard<std::mutex> awake(sleep_lock);
        new_job.notify_all();
    }
    in_parallel_region = true;
    claim_parts(0);
    in_parallel_region = false;
    for (int i = 0; parts_done < parts; i++) {
        if (i < 100 * spins_at_once) relax();
        else std::this_thread::yield(); // the thread with the last part may be waiting for this core
    }
    if (failed) std::rethrow_exception(std::exchange(error, nullptr));
}

int threads() { return wanted; }

void set_threads(int number) { wanted = number < 1 ? 1 : number > max_threads ? max_threads : number; }

void handle_forks() {
#if !defined(_WIN32)
    pthread_atfork([] { one_job.lock(); }, [] { one_job.unlock(); },
                   [] { // a child has only the thread that forked
                       started = 1;
                       n_sleeping = 0;
                       new (&one_job) std::mutex;
                       new (&sleep_lock) std::mutex;
                       new (&new_job) std::condition_variable;
                   });
#endif
}

} // namespace pool
