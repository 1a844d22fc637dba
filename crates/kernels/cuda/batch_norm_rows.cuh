// Sums of batch normalisation over rows: maps of bf16 with the channels of a pixel side by side. batch_norm.cuh has the rest.

// The tile of a block over rows: `across` neighbouring groups of channels, a power of two and no more than a warp, and as many
// rows as its other threads take.
struct Tile {
    int column, line, lines;
    __device__ Tile(int across, int width)
        : column((blockIdx.x * across + threadIdx.x % across) * width),
          line(threadIdx.x / across),
          lines(blockDim.x / across) {}
};

// The sums over the lines of a tile, of two values at once, for its first line. Every thread of the block has to call it.
// Neighbouring threads read and write neighbouring words throughout.
template <int WIDTH>
static __device__ void over_lines(Lanes<WIDTH> (&values)[2], int across, float* parts) {
    int lane = threadIdx.x % WARP, column = threadIdx.x % across, warps = blockDim.x / WARP, sums = 2 * WIDTH * across;
    float* own = parts + threadIdx.x / WARP * sums + column;
    for (int i = 0; i < 2 * WIDTH; ++i) {
        float value = values[i / WIDTH].at[i % WIDTH];
        for (int distance = WARP / 2; distance >= across; distance /= 2) {
            value += __shfl_xor_sync(EVERYONE, value, distance);
        }
        if (lane < across) {
            own[i * across] = value;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < sums; i += blockDim.x) {
        float sum = 0.0f;
        for (int warp = 0; warp < warps; ++warp) {
            sum += parts[warp * sums + i];
        }
        // Read by nobody else before the barrier.
        parts[i] = sum;
    }
    __syncthreads();
    for (int i = 0; threadIdx.x < across && i < 2 * WIDTH; ++i) {
        values[i / WIDTH].at[i % WIDTH] = parts[i * across + column];
    }
}

// What over_lines needs, for 8 lanes.
#define TILE_PARTS (2 * 8 * TILE_THREADS)

template <int WIDTH>
static __device__ void batch_norm_rows_partial_of(
    const bf16* x, float* means, float* squares, int rows, int channels, int across, int per_slice, float* parts) {
    Tile tile(across, WIDTH);
    int first = blockIdx.y * per_slice, end = min(first + per_slice, rows);
    bool within = tile.column < channels;
    Lanes<WIDTH> pivot = {}, sums[2] = {};
    if (within) {
        pivot = load<WIDTH>(x + first * channels + tile.column);
    }
#pragma unroll 4
    for (int row = first + tile.line; row < end; row += tile.lines) {
        if (within) {
            Lanes<WIDTH> in = load<WIDTH>(x + row * channels + tile.column);
            for (int lane = 0; lane < WIDTH; ++lane) {
                float off = in.at[lane] - pivot.at[lane];
                sums[0].at[lane] += off;
                sums[1].at[lane] += off * off;
            }
        }
    }
    over_lines<WIDTH>(sums, across, parts);
    for (int lane = 0; within && tile.line == 0 && lane < WIDTH; ++lane) {
        int at = blockIdx.y * channels + tile.column + lane;
        put_moments(means + at, squares + at, pivot.at[lane], sums[0].at[lane], sums[1].at[lane], end - first);
    }
}

// As batch_norm_partial, over rows. Grid: tiles x slices.
extern "C" __global__ void batch_norm_partial_bf16(
    const bf16* x, float* means, float* squares, int rows, int channels, int across, int per_slice, int wide) {
    __shared__ float parts[TILE_PARTS];
    if (wide) {
        batch_norm_rows_partial_of<8>(x, means, squares, rows, channels, across, per_slice, parts);
    } else {
        batch_norm_rows_partial_of<1>(x, means, squares, rows, channels, across, per_slice, parts);
    }
}

template <int WIDTH>
static __device__ void batch_norm_rows_sums_of(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, float* totals, float* aligned, int rows, int channels, int across, int per_slice, int relu,
    float* parts) {
    Tile tile(across, WIDTH);
    int end = min((int)(blockIdx.y + 1) * per_slice, rows);
    bool within = tile.column < channels;
    Lanes<WIDTH> sums[2] = {};
    Affine<WIDTH> affine = {};
    if (within) {
        affine = affine_of_channels<bf16, WIDTH>(mean, inverse, weight, bias, tile.column);
    }
#pragma unroll 2
    for (int row = blockIdx.y * per_slice + tile.line; row < end; row += tile.lines) {
        if (within) {
            int at = row * channels + tile.column;
            Lanes<WIDTH> g = load<WIDTH>(grad + at), in = load<WIDTH>(x + at);
            if (relu) {
                pass_relu<bf16, WIDTH>(g, y, at, in, affine);
            }
            for (int lane = 0; lane < WIDTH; ++lane) {
                sums[0].at[lane] += g.at[lane];
                sums[1].at[lane] += g.at[lane] * (in.at[lane] - affine.centre.at[lane]);
            }
        }
    }
    over_lines<WIDTH>(sums, across, parts);
    for (int lane = 0; within && tile.line == 0 && lane < WIDTH; ++lane) {
        totals[blockIdx.y * channels + tile.column + lane] = sums[0].at[lane];
        aligned[blockIdx.y * channels + tile.column + lane] = sums[1].at[lane];
    }
}

// As batch_norm_sums, over rows. Grid: tiles x slices.
extern "C" __global__ void batch_norm_sums_bf16(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, float* totals, float* aligned, int rows, int channels, int across, int per_slice, int relu,
    int wide) {
    __shared__ float parts[TILE_PARTS];
    if (wide) {
        batch_norm_rows_sums_of<8>(
            grad, x, y, mean, inverse, weight, bias, totals, aligned, rows, channels, across, per_slice, relu, parts);
    } else {
        batch_norm_rows_sums_of<1>(
            grad, x, y, mean, inverse, weight, bias, totals, aligned, rows, channels, across, per_slice, relu, parts);
    }
}
