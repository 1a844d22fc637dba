// What the kernels share: loops over elements, loads of four, sums over a warp and a block.
#pragma once

typedef unsigned int u32;

#define WARP 32
#define EVERYONE 0xffffffffu

// Elements of a grid, each once.
#define FOR_EACH(i, count) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

// Neighbours that one thread takes: four where the buffers are aligned to 16 bytes, else one.
template <int WIDTH>
struct Lanes {
    float at[WIDTH];
};

template <int WIDTH>
static __device__ __forceinline__ Lanes<WIDTH> load(const float* from) {
    Lanes<WIDTH> lanes;
    if (WIDTH == 4) {
        float4 four = *reinterpret_cast<const float4*>(from);
        lanes.at[0] = four.x;
        lanes.at[1 % WIDTH] = four.y;
        lanes.at[2 % WIDTH] = four.z;
        lanes.at[3 % WIDTH] = four.w;
    } else {
        lanes.at[0] = *from;
    }
    return lanes;
}

template <int WIDTH>
static __device__ __forceinline__ void store(float* to, const Lanes<WIDTH>& lanes) {
    if (WIDTH == 4) {
        *reinterpret_cast<float4*>(to) =
            make_float4(lanes.at[0], lanes.at[1 % WIDTH], lanes.at[2 % WIDTH], lanes.at[3 % WIDTH]);
    } else {
        *to = lanes.at[0];
    }
}

// The sum over the lanes of a warp, known to all of them.
static __device__ __forceinline__ float warp_sum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(EVERYONE, value, distance);
    }
    return value;
}

static __device__ __forceinline__ float warp_max(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(EVERYONE, value, distance));
    }
    return value;
}

// The sum over the threads of a block, known to all of them. Every thread of the block has to call it.
static __device__ float block_sum(float value) {
    __shared__ float parts[WARP];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    float total = 0.0f;
    for (int warp = 0; warp < blockDim.x / WARP; ++warp) {
        total += parts[warp];
    }
    // The parts may be written again at once.
    __syncthreads();
    return total;
}

// As block_sum, for the maximum; a NaN is passed over.
static __device__ float block_max(float value) {
    __shared__ float parts[WARP];
    value = warp_max(value);
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    float top = parts[0];
    for (int warp = 1; warp < blockDim.x / WARP; ++warp) {
        top = fmaxf(top, parts[warp]);
    }
    __syncthreads();
    return top;
}

// max(x, 0); a NaN stays one, so that it is seen.
static __device__ __forceinline__ float positive(float x) {
    return x < 0.0f ? 0.0f : x;
}
