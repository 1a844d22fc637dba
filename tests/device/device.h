// A device that is emulated: its memory, and what is done in the order of a stream.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace device {

// A buffer that work reads, or writes.
struct Operand {
    const void* start;
    size_t bytes;
    bool written = false;
};

// What waits in a stream, or is recorded in a graph.
struct Work {
    std::string name;
    std::vector<Operand> operands;
    std::function<void()> run;
    // Memory of the host that it reads or writes then, if any.
    const void* host = nullptr;
};

// Whether the device does nothing, at once, as EMULATED_IDLE asks: what a program takes then is what its host takes.
bool idle();

// Puts work at the end of a stream, where it waits until somebody waits for the stream; or records it.
void submit(CUstream stream, Work work);

// Says that what was submitted takes so long. It is what events tell the program; nothing is timed here.
void take(double milliseconds);

// Ends the program, since no real device would go on either.
[[noreturn]] void fault(const std::string& what);

}  // namespace device
