// Pooling over windows and over whole maps. Maps of floats are planes; those of bf16 have the channels of a pixel side by side,
// `inner` of them, which is 1 for planes.

// The larger of two values; a NaN beats everything.
static __device__ __forceinline__ bool beats(float a, float b) {
    return a > b || (a != a && b == b);
}

template <class T>
static __device__ void max_pool_forward_of(
    const T* x, T* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns, int kernel_rows,
    int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    FOR_EACH(i, maps * rows * columns * inner) {
        int window = i / inner, map = window / (rows * columns), at = window % (rows * columns);
        int top = at / columns * stride_rows - padding_rows, left = at % columns * stride_columns - padding_columns;
        const T* from = x + map * height * width * inner + i % inner;
        int best = -1;
        float largest = 0.0f;
        for (int row = max(top, 0); row < min(top + kernel_rows, height); ++row) {
            for (int column = max(left, 0); column < min(left + kernel_columns, width); ++column) {
                int cell = row * width + column;
                float value = widened(from[cell * inner]);
                if (best < 0 || beats(value, largest)) {
                    best = cell;
                    largest = value;
                }
            }
        }
        put(y + i, largest);
        cells[i] = best;
    }
}

// The largest value of each window and the cell of the map that holds it, the first one where there are several.
extern "C" __global__ void max_pool_forward(
    const float* x, float* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_forward_of(
        x, y, cells, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_forward_bf16(
    const bf16* x, bf16* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_forward_of(
        x, y, cells, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

template <class T>
static __device__ void max_pool_backward_of(
    const u32* cells, const T* dy, T* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    FOR_EACH(i, maps * height * width * inner) {
        int place = i / inner, map = place / (height * width), cell = place % (height * width);
        int row = cell / width + padding_rows, column = cell % width + padding_columns;
        // Windows that cover it: stride * w <= row < stride * w + kernel.
        int first_row = max(row - kernel_rows + stride_rows, 0) / stride_rows;
        int first_column = max(column - kernel_columns + stride_columns, 0) / stride_columns;
        float sum = 0.0f;
        for (int r = first_row; r <= min(row / stride_rows, rows - 1); ++r) {
            for (int c = first_column; c <= min(column / stride_columns, columns - 1); ++c) {
                int window = ((map * rows + r) * columns + c) * inner + i % inner;
                sum += cells[window] == (u32)cell ? widened(dy[window]) : 0.0f;
            }
        }
        put(dx + i, sum);
    }
}

// The gradient of a cell: that of every window that it won.
extern "C" __global__ void max_pool_backward(
    const u32* cells, const float* dy, float* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_backward_of(
        cells, dy, dx, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_backward_bf16(
    const u32* cells, const bf16* dy, bf16* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_backward_of(
        cells, dy, dx, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

// The mean of each map, a warp each.
extern "C" __global__ void global_average_forward(const float* x, float* y, int maps, int area) {
    int map = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (map >= maps) {
        return;
    }
    float sum = 0.0f;
    for (int i = lane; i < area; i += WARP) {
        sum += x[map * area + i];
    }
    sum = warp_sum(sum);
    if (lane == 0) {
        y[map] = sum / area;
    }
}

extern "C" __global__ void global_average_backward(const float* dy, float* dx, int maps, int area) {
    FOR_EACH(i, maps * area) { dx[i] = dy[i / area] / area; }
}

// The mean over the pixels of each picture [area, channels], a thread for each channel of each.
extern "C" __global__ void global_average_forward_bf16(const bf16* x, float* y, int maps, int channels, int area) {
    FOR_EACH(i, maps * channels) {
        const bf16* from = x + i / channels * area * channels + i % channels;
        float sum = 0.0f;
        for (int pixel = 0; pixel < area; ++pixel) {
            sum += widened(from[pixel * channels]);
        }
        y[i] = sum / area;
    }
}

extern "C" __global__ void global_average_backward_bf16(const float* dy, bf16* dx, int maps, int channels, int area) {
    FOR_EACH(i, maps * area * channels) { put(dx + i, dy[i / (area * channels) * channels + i % channels] / area); }
}
