// What the kernels share: loops over elements, loads of 16 bytes, sums over a warp and a block.
#pragma once

typedef unsigned int u32;

#define WARP 32
#define EVERYONE 0xffffffffu

// Threads of a block that takes a tile, and so what its shared memory has room for.
#define TILE_THREADS 256

// Elements of a grid, each once.
#define FOR_EACH(i, count) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

// A bfloat16: the upper half of a float.
struct bf16 {
    unsigned short bits;
};

static __device__ __forceinline__ float widened(bf16 x) {
    return __uint_as_float((u32)x.bits << 16);
}

static __device__ __forceinline__ float widened(float x) {
    return x;
}

// To the nearest, ties to even, as 16 bits; a NaN stays one.
static __device__ __forceinline__ u32 upper_half(float x) {
    u32 bits = __float_as_uint(x);
    return x != x ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

static __device__ __forceinline__ void put(bf16* to, float x) {
    to->bits = (unsigned short)upper_half(x);
}

static __device__ __forceinline__ void put(float* to, float x) {
    *to = x;
}

// Neighbours that one thread takes: those of 16 bytes where the buffers are aligned to them (four floats, eight bf16),
// else one. They are computed with as floats.
template <int WIDTH>
struct Lanes {
    float at[WIDTH];
};

template <int WIDTH>
static __device__ __forceinline__ Lanes<WIDTH> load(const float* from) {
    Lanes<WIDTH> lanes;
    if constexpr (WIDTH == 1) {
        lanes.at[0] = *from;
    } else {
        for (int i = 0; i < WIDTH; i += 4) {
            float4 four = *reinterpret_cast<const float4*>(from + i);
            lanes.at[i] = four.x;
            lanes.at[i + 1] = four.y;
            lanes.at[i + 2] = four.z;
            lanes.at[i + 3] = four.w;
        }
    }
    return lanes;
}

template <int WIDTH>
static __device__ __forceinline__ Lanes<WIDTH> load(const bf16* from) {
    Lanes<WIDTH> lanes;
    if (WIDTH == 8) {
        uint4 four = *reinterpret_cast<const uint4*>(from);
        u32 pairs[4] = {four.x, four.y, four.z, four.w};
        for (int pair = 0; pair < 4; ++pair) {
            lanes.at[2 * pair % WIDTH] = __uint_as_float(pairs[pair] << 16);
            lanes.at[(2 * pair + 1) % WIDTH] = __uint_as_float(pairs[pair] & 0xffff0000u);
        }
    } else {
        lanes.at[0] = widened(*from);
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

template <int WIDTH>
static __device__ __forceinline__ void store(bf16* to, const Lanes<WIDTH>& lanes) {
    if (WIDTH == 8) {
        u32 pairs[4];
        for (int pair = 0; pair < 4; ++pair) {
            pairs[pair] = upper_half(lanes.at[2 * pair % WIDTH]) | upper_half(lanes.at[(2 * pair + 1) % WIDTH]) << 16;
        }
        *reinterpret_cast<uint4*>(to) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    } else {
        put(to, lanes.at[0]);
    }
}

// Numbers of the lanes of a thread that takes as many neighbours.
template <int WIDTH>
static __device__ __forceinline__ void load_numbers(const u32* from, u32 (&numbers)[WIDTH]) {
    if constexpr (WIDTH == 1) {
        numbers[0] = *from;
    } else {
        for (int i = 0; i < WIDTH; i += 4) {
            uint4 four = *reinterpret_cast<const uint4*>(from + i);
            numbers[i] = four.x;
            numbers[i + 1] = four.y;
            numbers[i + 2] = four.z;
            numbers[i + 3] = four.w;
        }
    }
}

template <int WIDTH>
static __device__ __forceinline__ void store_numbers(u32* to, const u32 (&numbers)[WIDTH]) {
    if constexpr (WIDTH == 1) {
        *to = numbers[0];
    } else {
        for (int i = 0; i < WIDTH; i += 4) {
            *reinterpret_cast<uint4*>(to + i) = make_uint4(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]);
        }
    }
}

// The sum over the lanes of a warp, known to all of them.
template <class T>
static __device__ __forceinline__ T warp_sum(T value) {
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

template <class T>
static __device__ __forceinline__ T block_sum_by(T value, T* parts) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    T total = 0;
    for (int warp = 0; warp < blockDim.x / WARP; ++warp) {
        total += parts[warp];
    }
    // The parts may be written again at once.
    __syncthreads();
    return total;
}

// The sum over the threads of a block, known to all of them. Every thread of the block has to call it.
static __device__ float block_sum(float value) {
    __shared__ float parts[WARP];
    return block_sum_by(value, parts);
}

static __device__ double block_sum(double value) {
    __shared__ double parts[WARP];
    return block_sum_by(value, parts);
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
