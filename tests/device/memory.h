// The memory of the emulated device: each buffer lies before pages that nobody may touch, and its addresses are never used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace device {

constexpr size_t PAGE = 4096, ALIGNMENT = 256;

struct Allocation {
    size_t bytes;
    // It holds something now. That of a graph does between two of its nodes.
    bool live = false;
    bool of_graph = false;
    // Of a graph: whether that was launched.
    bool launched = false;

    size_t pages(uintptr_t start) const { return (start + padded() - start / PAGE * PAGE + PAGE - 1) / PAGE * PAGE; }
    size_t padded() const { return std::max((bytes + ALIGNMENT - 1) / ALIGNMENT, size_t(1)) * ALIGNMENT; }
};

// By their addresses, those that were given up too.
extern std::map<uintptr_t, Allocation> allocations;

// Addresses for so many bytes, which hold nothing yet.
uintptr_t reserve(size_t bytes, bool of_graph);

// Has a buffer hold something: NaN.
void enliven(uintptr_t start);

// Gives up what a buffer holds.
void bury(uintptr_t start);

// Where an address lies, in words.
std::string described(uintptr_t address);

// Whether all bytes of a range are those of one buffer that holds something.
bool holds(uintptr_t address, size_t bytes);

// Whether an address is the device's, of a buffer or between them.
bool of_device(uintptr_t address);

}  // namespace device
