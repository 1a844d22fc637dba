#include "memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

#include "device.h"

namespace {

using device::PAGE;

constexpr size_t SPACE = size_t(1) << 46;
constexpr unsigned char SLACK_BYTE = 0xa5;

char* space() {
    static char* start = [] {
        void* got = mmap(nullptr, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED) device::fault("no room for addresses");
        return static_cast<char*>(got);
    }();
    return start;
}

void* page_of(uintptr_t address) {
    return reinterpret_cast<void*>(address / PAGE * PAGE);
}

}  // namespace

namespace device {

std::map<uintptr_t, Allocation> allocations;

uintptr_t reserve(size_t bytes, bool of_graph) {
    static size_t used = 0;
    Allocation allocation{bytes};
    allocation.of_graph = of_graph;
    size_t pages = (allocation.padded() + PAGE - 1) / PAGE * PAGE;
    if (used + pages + PAGE > SPACE) device::fault("all addresses are used");
    uintptr_t start = reinterpret_cast<uintptr_t>(space()) + used + pages - allocation.padded();
    used += pages + PAGE;
    if (!idle()) allocations[start] = allocation;
    return start;
}

void enliven(uintptr_t start) {
    if (idle()) return;
    Allocation& allocation = allocations.at(start);
    if (allocation.live) device::fault("memory of a graph is allocated again before it was freed");
    if (mprotect(page_of(start), allocation.pages(start), PROT_READ | PROT_WRITE)) device::fault("no memory is left");
    memset(reinterpret_cast<void*>(start), 0xff, allocation.bytes);
    memset(reinterpret_cast<void*>(start + allocation.bytes), SLACK_BYTE, allocation.padded() - allocation.bytes);
    allocation.live = true;
}

void bury(uintptr_t start) {
    Allocation& allocation = allocations.at(start);
    if (!allocation.live) device::fault("memory is freed twice");
    auto slack = reinterpret_cast<const unsigned char*>(start);
    for (size_t i = allocation.bytes; i < allocation.padded(); ++i) {
        if (slack[i] != SLACK_BYTE) device::fault("something was written behind a buffer of " + std::to_string(allocation.bytes) + " bytes");
    }
    mmap(page_of(start), allocation.pages(start), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    allocation.live = false;
}

std::string described(uintptr_t address) {
    auto next = allocations.upper_bound(address);
    char text[160];
    if (next == allocations.begin()) {
        snprintf(text, sizeof text, "%#zx, which is no memory of the device", address);
        return text;
    }
    auto [start, allocation] = *--next;
    snprintf(text, sizeof text, "%#zx, byte %zu of a buffer of %zu that is %s%s", address, address - start, allocation.bytes,
             allocation.live ? "there" : "not there", allocation.of_graph ? ", a graph's" : "");
    return text;
}

bool holds(uintptr_t address, size_t bytes) {
    auto next = allocations.upper_bound(address);
    if (next == allocations.begin()) return false;
    auto [start, allocation] = *--next;
    return allocation.live && address + bytes <= start + allocation.bytes;
}

bool of_device(uintptr_t address) {
    auto start = reinterpret_cast<uintptr_t>(space());
    return address >= start && address < start + SPACE;
}

}  // namespace device
