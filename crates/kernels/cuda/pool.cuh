// Pooling over windows and over whole maps. Maps of floats are planes; those of bf16 have the channels of a pixel side by side,
// `inner` of them, which is 1 for planes.

// The larger of two values; a NaN beats everything.
static __device__ __forceinline__ bool beats(float a, float b) {
    return a > b || (a != a && b == b);
}

// A window: the first cell of the map that it sees, and the one behind the last, along one side.
struct Range {
    int first, end;
    __device__ __forceinline__ Range(int window, int stride, int padding, int kernel, int size)
        : first(max(window * stride - padding, 0)), end(min(window * stride - padding + kernel, size)) {}
};

template <class T, int WIDTH>
static __device__ void max_pool_forward_of(
    const T* x, T* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns, int kernel_rows,
    int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    int groups = inner / WIDTH, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * columns * groups) {
        return;
    }
    int window = i / groups, channel = i % groups * WIDTH;
    Range down(window / columns, stride_rows, padding_rows, kernel_rows, height);
    Range across(window % columns, stride_columns, padding_columns, kernel_columns, width);
    for (int map = blockIdx.y; map < maps; map += gridDim.y) {
        const T* from = x + map * height * width * inner + channel;
        Lanes<WIDTH> largest;
        u32 best[WIDTH];
        for (int row = down.first; row < down.end; ++row) {
            for (int column = across.first; column < across.end; ++column) {
                int cell = row * width + column;
                bool first = row == down.first && column == across.first;
                Lanes<WIDTH> values = load<WIDTH>(from + cell * inner);
                for (int lane = 0; lane < WIDTH; ++lane) {
                    if (first || beats(values.at[lane], largest.at[lane])) {
                        best[lane] = cell;
                        largest.at[lane] = values.at[lane];
                    }
                }
            }
        }
        int to = (map * rows * columns + window) * inner + channel;
        store<WIDTH>(y + to, largest);
        store_numbers<WIDTH>(cells + to, best);
    }
}

// The largest value of each window and the cell of the map that holds it, the first one where there are several. Grid: windows
// by groups of channels x maps, of which a block takes several where there are more; no window is empty.
extern "C" __global__ void max_pool_forward(
    const float* x, float* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_forward_of<float, 1>(
        x, y, cells, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_forward_bf16(
    const bf16* x, bf16* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_forward_of<bf16, 1>(
        x, y, cells, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_forward_wide(
    const bf16* x, bf16* y, u32* cells, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_forward_of<bf16, 8>(
        x, y, cells, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

template <class T, int WIDTH>
static __device__ void max_pool_backward_of(
    const u32* cells, const T* dy, T* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    int groups = inner / WIDTH, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= height * width * groups) {
        return;
    }
    int cell = i / groups, channel = i % groups * WIDTH;
    int row = cell / width + padding_rows, column = cell % width + padding_columns;
    // Windows that cover it: stride * w <= row < stride * w + kernel.
    int first_row = max(row - kernel_rows + stride_rows, 0) / stride_rows, end_row = min(row / stride_rows + 1, rows);
    int first_column = max(column - kernel_columns + stride_columns, 0) / stride_columns;
    int end_column = min(column / stride_columns + 1, columns);
    for (int map = blockIdx.y; map < maps; map += gridDim.y) {
        Lanes<WIDTH> sums = {};
        for (int r = first_row; r < end_row; ++r) {
            for (int c = first_column; c < end_column; ++c) {
                int window = ((map * rows + r) * columns + c) * inner + channel;
                Lanes<WIDTH> grad = load<WIDTH>(dy + window);
                u32 won[WIDTH];
                load_numbers<WIDTH>(cells + window, won);
                for (int lane = 0; lane < WIDTH; ++lane) {
                    sums.at[lane] += won[lane] == (u32)cell ? grad.at[lane] : 0.0f;
                }
            }
        }
        store<WIDTH>(dx + (map * height * width + cell) * inner + channel, sums);
    }
}

// The gradient of a cell: that of every window that it won. Grid: cells by groups of channels x maps.
extern "C" __global__ void max_pool_backward(
    const u32* cells, const float* dy, float* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_backward_of<float, 1>(
        cells, dy, dx, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_backward_bf16(
    const u32* cells, const bf16* dy, bf16* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_backward_of<bf16, 1>(
        cells, dy, dx, maps, inner, height, width, rows, columns, kernel_rows, kernel_columns, stride_rows,
        stride_columns, padding_rows, padding_columns);
}

extern "C" __global__ void max_pool_backward_wide(
    const u32* cells, const bf16* dy, bf16* dx, int maps, int inner, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    max_pool_backward_of<bf16, 8>(
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
