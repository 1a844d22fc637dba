// The kernels that are emulated: the project's, and candle's.
#pragma once

#include <vector_types.h>

#include "emulator.h"

// All of them. Each file of kernels adds its own when the library is loaded.
inline std::vector<emulator::Kernel>& all_kernels() {
    static std::vector<emulator::Kernel> all;
    return all;
}

inline bool add_kernels(std::initializer_list<emulator::Kernel> kernels) {
    all_kernels().insert(all_kernels().end(), kernels);
    return true;
}
