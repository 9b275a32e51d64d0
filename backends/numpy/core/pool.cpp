// One pool of threads, whose parts are claimed, not assigned: whichever thread is free takes the next part. A thread
// that gets no core, on a busy machine, holds up nothing but the part it has begun.
//
// `state` holds the generation of the job and its next part, so that a claim that comes too late cannot take a part of
// the following job. Workers spin for a short time after a job, since the next one mostly follows within microseconds,
// and then sleep.
#include "pool.hpp"

#include <atomic>
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

constexpr int max_threads = 256, spins = 2000;
constexpr std::uint64_t no_part = 0xffffffff; // the lower half of `state` while there is nothing to claim

std::atomic<int> wanted{1}; // threads, the caller included
int started = 1;            // threads that exist, the caller included; guarded by `one_job`

std::atomic<std::uint64_t> state{no_part};
Work job_work; // these two are read only by a thread that has claimed a part
const void *job_data;
std::atomic<long> job_parts{0}, parts_done{0};
std::atomic<bool> failed{false}; // whether a part of the job has thrown
std::exception_ptr error;        // what it threw; written by the first that sets `failed`

// Never destroyed, since workers outlive the end of main.
std::mutex &one_job = *new std::mutex; // held while a job runs
std::mutex &sleep_lock = *new std::mutex;
std::condition_variable &new_job = *new std::condition_variable;
std::atomic<int> n_sleeping{0};
thread_local bool inside = false; // this thread runs a part: a job within it runs in this thread alone

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

std::uint64_t generation() { return state >> 32; }

// Do parts of the present job until none is left.
void claim_parts() {
    std::uint64_t s = state;
    while (static_cast<long>(s & no_part) < job_parts) {
        if (!state.compare_exchange_weak(s, s + 1)) continue;
        try {
            job_work(static_cast<long>(s & no_part), job_data);
        } catch (...) { // for the caller, who waits for all parts
            if (!failed.exchange(true)) error = std::current_exception();
        }
        ++parts_done;
        s = state;
    }
}

// Return the generation of a job that this thread has not seen.
std::uint64_t wait_for_job(std::uint64_t seen) {
    for (int i = 0; i < spins; i++) {
        if (generation() != seen) return generation();
        relax();
    }
    std::unique_lock<std::mutex> lock(sleep_lock);
    ++n_sleeping;
    new_job.wait(lock, [&] { return generation() != seen; });
    --n_sleeping;
    return generation();
}

void work(int number) {
    inside = true;
    for (std::uint64_t seen = 0;;) {
        seen = wait_for_job(seen);
        if (number < wanted) claim_parts();
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
    if (parts < 2 || inside || wanted < 2 || !lock.try_lock()) {
        for (long part = 0; part < parts; part++) work(part, job);
        return;
    }
    start_workers();
    const std::uint64_t before = generation();
    state = before << 32 | no_part; // nobody claims while the job changes
    job_work = work;
    job_data = job;
    parts_done = 0;
    failed = false;
    job_parts = parts;
    state = (before + 1) << 32;
    if (n_sleeping) {
        std::lock_guard<std::mutex> awake(sleep_lock);
        new_job.notify_all();
    }
    inside = true;
    claim_parts();
    inside = false;
    for (int i = 0; parts_done < parts; i++) {
        if (i < spins) relax();
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
