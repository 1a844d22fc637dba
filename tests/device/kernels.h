// The kernels that are emulated: the project's, and candle's.
#pragma once

#include <vector_types.h>

#include "emulator.h"

const std::vector<emulator::Kernel>& all_kernels();
