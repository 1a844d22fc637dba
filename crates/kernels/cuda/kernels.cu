// All kernels, as one unit: `build.rs` compiles it with nvcc, the emulator with the system's C++ compiler.
//
// Rules that every kernel keeps, so that it can be captured into a graph and gives the same numbers on every run:
// nothing is allocated, no atomics, sums in an order that depends on the sizes only, every element of a result written.
// Sizes are `int`: the Rust side refuses buffers of more than 2^30 elements.
#include "common.cuh"

#include "activation.cuh"
#include "attention.cuh"
#include "batch_norm.cuh"
#include "batch_norm_rows.cuh"
#include "blend.cuh"
#include "cosine.cuh"
#include "layer_norm.cuh"
#include "mask_attention.cuh"
#include "picture.cuh"
#include "pool.cuh"
#include "rearrange.cuh"
#include "resize.cuh"
#include "rows.cuh"
#include "softmax.cuh"
#include "update.cuh"
