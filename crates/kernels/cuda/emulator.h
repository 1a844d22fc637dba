// Runs kernels on a processor, for tests: what CUDA gives a kernel, with the threads of a block as fibers.
//
// The warps of a block run one after the other, each as far as it gets; on demand they, their threads and the blocks run in
// reverse: so a missing barrier shows as a wrong number. Shared memory is filled with NaN before each block. A barrier that
// some thread doesn't reach, a shuffle of part of a warp and an argument of another kind than the kernel's are reported.
//
// Headers of the CUDA toolkit may be included before this one, not after it.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using std::max;
using std::min;

#undef __global__
#undef __device__
#undef __forceinline__
#undef __shared__
#ifdef EMULATOR_LIST
// So that whoever looks at the preprocessed text finds the kernels.
#define __global__ emulated_kernel
#else
#define __global__
#endif
#define __device__
#define __forceinline__ inline
#ifdef EMULATOR_PLAIN_SHARED
// For kernels whose shared memory is in templates, which can't have a section: it isn't filled with NaN.
#define __shared__ static
#else
#define __shared__ static __attribute__((section("emulated_shared")))
#endif

#ifndef __VECTOR_TYPES_H__
struct dim3 {
    unsigned x, y, z;
};
struct float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
struct uint4 {
    unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
#endif
inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Of the thread that runs. One block runs at a time, in the whole program.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

extern char __start_emulated_shared[] __attribute__((weak)), __stop_emulated_shared[] __attribute__((weak));

namespace emulator {

struct Barrier {
    unsigned members = 0, arrived = 0;
    unsigned long generation = 0;
};

// What runs a thread until its end, and then the next one that hasn't begun.
struct Fiber {
    ucontext_t context;
    // Where it goes on. The first entry needs a context with a stack of its own; after that a jump is enough, which asks
    // nothing of the system.
    jmp_buf place;
    bool entered = false;
    char stack[64 << 10];
};

struct Thread {
    // Null before its beginning and after its end.
    Fiber* fiber = nullptr;
    bool done = false;
    // The barrier that it waits at, as it was on arrival.
    const Barrier* barrier = nullptr;
    unsigned long generation = 0;
    // What it offers to the other threads of its warp, in turns: a thread may still read what was offered last.
    double slots[2];
    unsigned exchanges = 0;

    bool waits() const { return barrier && barrier->generation == generation; }
};

// What the threads of a block run.
struct Body {
    virtual void run() = 0;
    virtual ~Body() = default;
};

inline std::vector<std::unique_ptr<Fiber>> fibers;
inline std::vector<Fiber*> idle;
inline std::vector<Thread> threads;
inline std::vector<Barrier> warps;
inline Barrier block;
inline ucontext_t beginning;
inline jmp_buf scheduler;
inline unsigned current;
inline bool progressed;
inline std::string fault;
inline Body* body;

// Leaves the fiber that runs; comes back when the scheduler goes on with it.
inline void leave(Fiber* fiber) {
    if (!_setjmp(fiber->place)) {
        _longjmp(scheduler, 1);
    }
}

// The life of a fiber.
inline void live() {
    for (;;) {
        Fiber* fiber = threads[current].fiber;
        body->run();
        threads[current].done = true;
        threads[current].fiber = nullptr;
        idle.push_back(fiber);
        progressed = true;
        leave(fiber);
    }
}

// A fiber that runs no thread.
inline Fiber* spare() {
    if (idle.empty()) {
        fibers.push_back(std::make_unique<Fiber>());
        Fiber* fiber = fibers.back().get();
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = fiber->stack;
        fiber->context.uc_stack.ss_size = sizeof fiber->stack;
        fiber->context.uc_link = nullptr;
        makecontext(&fiber->context, live, 0);
        return fiber;
    }
    Fiber* fiber = idle.back();
    idle.pop_back();
    return fiber;
}

// Goes on with the current thread; comes back when it waits or has ended.
inline void go_on() {
    Thread& thread = threads[current];
    if (!thread.fiber) {
        thread.fiber = spare();
    }
    if (_setjmp(scheduler)) {
        return;
    }
    Fiber* fiber = thread.fiber;
    if (fiber->entered) {
        _longjmp(fiber->place, 1);
    }
    fiber->entered = true;
    swapcontext(&beginning, &fiber->context);
}

inline void wait(Barrier& barrier) {
    Thread& self = threads[current];
    self.barrier = &barrier;
    self.generation = barrier.generation;
    if (++barrier.arrived == barrier.members) {
        barrier.arrived = 0;
        ++barrier.generation;
        progressed = true;
    } else {
        leave(self.fiber);
    }
}

template <class T>
T exchange(unsigned mask, T value, int distance) {
    unsigned self = current;
    Barrier& warp = warps[self / 32];
    if (mask != 0xffffffffu || warp.members != 32) {
        fault = "a shuffle of part of a warp";
        return value;
    }
    unsigned turn = threads[self].exchanges++ % 2;
    threads[self].slots[turn] = value;
    wait(warp);
    return (T)threads[self / 32 * 32 + ((self % 32) ^ distance)].slots[turn];
}

inline void run_block(bool reversed) {
    unsigned count = blockDim.x * blockDim.y * blockDim.z;
    threads.assign(count, Thread());
    warps.assign((count + 31) / 32, Barrier{32});
    if (count % 32 != 0) {
        warps.back().members = count % 32;
    }
    block = Barrier{count};
    std::memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
    unsigned left = count;
    while (left > 0 && fault.empty()) {
        bool any = false;
        for (unsigned i = 0; i < warps.size(); ++i) {
            unsigned warp = reversed ? warps.size() - 1 - i : i, members = warps[warp].members;
            // As far as this warp gets alone: another one may be a barrier behind.
            do {
                progressed = false;
                for (unsigned lane = 0; lane < members; ++lane) {
                    current = warp * 32 + (reversed ? members - 1 - lane : lane);
                    if (!threads[current].done && !threads[current].waits()) {
                        bool line = count == blockDim.x;
                        threadIdx.x = line ? current : current % blockDim.x;
                        threadIdx.y = line ? 0 : current / blockDim.x % blockDim.y;
                        threadIdx.z = line ? 0 : current / blockDim.x / blockDim.y;
                        go_on();
                        left -= threads[current].done;
                    }
                }
                any |= progressed;
            } while (progressed);
        }
        if (!any) {
            fault = "a barrier that not every thread reaches";
        }
    }
    if (!fault.empty()) {
        // Some fibers are within a thread that won't end.
        idle.clear();
        fibers.clear();
    }
}

// An argument of a kernel: p(ointer), i(nt), f(loat), or s(tructure), with its bytes.
struct Parameter {
    char kind;
    size_t size;
    std::string text() const { return kind == 's' ? "s" + std::to_string(size) : std::string(1, kind); }
};

template <class T>
Parameter parameter() {
    if (std::is_pointer<T>::value) return {'p', sizeof(T)};
    if (std::is_same<T, int>::value) return {'i', sizeof(T)};
    if (std::is_same<T, float>::value) return {'f', sizeof(T)};
    return {'s', sizeof(T)};
}

// A kernel that can be launched: its name, what it takes, and how it runs in one thread.
struct Kernel {
    const char* name;
    std::vector<Parameter> parameters;
    void (*call)(void** arguments);
};

template <auto kernel, class... T, size_t... I>
Kernel describe(const char* name, void (*)(T...), std::index_sequence<I...>) {
    return {name, {parameter<T>()...}, [](void** arguments) { kernel(*static_cast<T*>(arguments[I])...); }};
}

template <auto kernel, class... T>
Kernel describe(const char* name, void (*function)(T...)) {
    return describe<kernel>(name, function, std::index_sequence_for<T...>());
}

#define EMULATED(kernel) emulator::describe<kernel>(#kernel, kernel)

// Runs a kernel to its end. `fault` then says what was wrong, if anything was.
inline void launch(const Kernel& kernel, dim3 grid, dim3 threads, void** arguments, bool reversed) {
    struct Call : Body {
        void (*call)(void**);
        void** arguments;
        void run() override { call(arguments); }
    } call;
    call.call = kernel.call;
    call.arguments = arguments;
    body = &call;
    gridDim = grid;
    blockDim = threads;
    fault.clear();
    unsigned blocks = grid.x * grid.y * grid.z;
    for (unsigned i = 0; i < blocks && fault.empty(); ++i) {
        unsigned at = reversed ? blocks - 1 - i : i;
        blockIdx.x = at % grid.x;
        blockIdx.y = at / grid.x % grid.y;
        blockIdx.z = at / grid.x / grid.y;
        run_block(reversed);
    }
}

}  // namespace emulator

inline void __syncthreads() {
    emulator::wait(emulator::block);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int = 32) {
    return emulator::exchange(mask, value, distance);
}

// One thread runs at a time.
template <class T>
T atomicAdd(T* to, T value) {
    T old = *to;
    *to = old + value;
    return old;
}
