// Runs the kernels on a processor, for tests: what CUDA gives a kernel, with the threads of a block as fibers.
//
// The warps of a block run one after the other, each as far as it gets; every other launch runs them, their threads and
// the blocks in reverse: so a missing barrier shows as a wrong number. Shared memory is filled with NaN before each block. A barrier
// that some thread doesn't reach, a partial warp and an argument of another kind than the kernel's are reported.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using std::max;
using std::min;

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("emulated_shared")))

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

static dim3 threadIdx, blockIdx, blockDim, gridDim;

extern char __start_emulated_shared[], __stop_emulated_shared[];

namespace emulator {

struct Barrier {
    unsigned members = 0, arrived = 0;
    unsigned long generation = 0;
};

struct Fiber {
    ucontext_t context;
    // Where it goes on. The first entry needs a context with a stack of its own; after that a jump is enough, which asks
    // nothing of the system.
    jmp_buf place;
    bool entered = false;
    std::vector<char> stack;
    bool done = false;
    double slot = 0;
};

static std::vector<Fiber> fibers;
static std::vector<Barrier> warps;
static Barrier block;
static ucontext_t beginning;
static jmp_buf scheduler;
static unsigned current;
static bool progressed;
static std::string fault;

// Leaves the fiber that runs; comes back when the scheduler goes on with it.
inline void leave() {
    if (!_setjmp(fibers[current].place)) {
        _longjmp(scheduler, 1);
    }
}

// Goes on with a fiber; comes back when it leaves.
inline void go_on(Fiber& fiber) {
    if (_setjmp(scheduler)) {
        return;
    }
    if (fiber.entered) {
        _longjmp(fiber.place, 1);
    }
    fiber.entered = true;
    swapcontext(&beginning, &fiber.context);
}

inline void wait(Barrier& barrier) {
    unsigned long generation = barrier.generation;
    if (++barrier.arrived == barrier.members) {
        barrier.arrived = 0;
        ++barrier.generation;
        progressed = true;
    }
    while (barrier.generation == generation) {
        leave();
    }
}

template <class T>
T exchange(unsigned mask, T value, int distance) {
    unsigned self = current;
    if (mask != 0xffffffffu) {
        fault = "a shuffle of part of a warp";
    }
    Barrier& warp = warps[self / 32];
    fibers[self].slot = value;
    wait(warp);
    T other = (T)fibers[self / 32 * 32 + ((self % 32) ^ distance)].slot;
    wait(warp);
    return other;
}

// What the fibers of a block run.
struct Body {
    virtual void run() = 0;
    virtual ~Body() = default;
};
static Body* body;

inline void enter() {
    body->run();
    fibers[current].done = true;
    progressed = true;
    leave();
}

inline void run_block(bool reversed) {
    unsigned count = blockDim.x;
    if (count % 32 != 0) {
        fault = "a block that isn't made of whole warps";
        return;
    }
    fibers.resize(std::max<size_t>(fibers.size(), count));
    warps.assign(count / 32, Barrier{32});
    block = Barrier{count};
    std::memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
    for (unsigned i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        fiber.stack.resize(64 << 10);
        fiber.done = fiber.entered = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    unsigned left = count;
    while (left > 0 && fault.empty()) {
        bool any = false;
        for (unsigned warp = 0; warp < warps.size(); ++warp) {
            unsigned first = (reversed ? warps.size() - 1 - warp : warp) * 32;
            // As far as this warp gets alone: another one may be a barrier behind.
            do {
                progressed = false;
                for (unsigned i = 0; i < 32; ++i) {
                    current = first + (reversed ? 31 - i : i);
                    if (!fibers[current].done) {
                        threadIdx = {current, 0, 0};
                        go_on(fibers[current]);
                        left -= fibers[current].done;
                    }
                }
                any |= progressed;
            } while (progressed);
        }
        if (!any) {
            fault = "a barrier that not every thread reaches";
        }
    }
}

// The kinds of a kernel's arguments: p(ointer), i(nt), f(loat), or s(truct) with its size.
template <class T>
std::string kind() {
    if (std::is_pointer<T>::value) return "p";
    if (std::is_same<T, int>::value) return "i";
    if (std::is_same<T, float>::value) return "f";
    return "s" + std::to_string(sizeof(T));
}

template <class... T, size_t... I>
void launch(void (*kernel)(T...), void** arguments, const char* kinds, bool reversed, std::index_sequence<I...>) {
    std::string expected;
    ((expected += kind<T>()), ...);
    if (expected != kinds) {
        fault = "arguments " + std::string(kinds) + ", expected " + expected;
        return;
    }
    struct Call : Body {
        void (*kernel)(T...);
        void** arguments;
        void run() override { kernel(*static_cast<T*>(arguments[I])...); }
    } call;
    call.kernel = kernel;
    call.arguments = arguments;
    body = &call;
    unsigned blocks = gridDim.x * gridDim.y;
    for (unsigned i = 0; i < blocks && fault.empty(); ++i) {
        unsigned at = reversed ? blocks - 1 - i : i;
        blockIdx = {at % gridDim.x, at / gridDim.x, 0};
        run_block(reversed);
    }
}

template <class... T>
void launch(void (*kernel)(T...), void** arguments, const char* kinds, bool reversed) {
    launch(kernel, arguments, kinds, reversed, std::index_sequence_for<T...>());
}

}  // namespace emulator

inline void __syncthreads() {
    emulator::wait(emulator::block);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
    return emulator::exchange(mask, value, distance);
}
