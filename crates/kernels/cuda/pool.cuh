// Pooling over windows and over whole maps.

// The larger of two values; a NaN beats everything.
static __device__ __forceinline__ bool beats(float a, float b) {
    return a > b || (a != a && b == b);
}

// The largest value of each window and the cell of the map that holds it, the first one where there are several.
extern "C" __global__ void max_pool_forward(
    const float* x, float* y, u32* cells, int maps, int height, int width, int rows, int columns, int kernel_rows,
    int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    FOR_EACH(i, maps * rows * columns) {
        int map = i / (rows * columns), at = i % (rows * columns);
        int top = at / columns * stride_rows - padding_rows, left = at % columns * stride_columns - padding_columns;
        const float* from = x + map * height * width;
        int best = -1;
        for (int row = max(top, 0); row < min(top + kernel_rows, height); ++row) {
            for (int column = max(left, 0); column < min(left + kernel_columns, width); ++column) {
                int cell = row * width + column;
                if (best < 0 || beats(from[cell], from[best])) {
                    best = cell;
                }
            }
        }
        y[i] = from[best];
        cells[i] = best;
    }
}

// The gradient of a cell: that of every window that it won.
extern "C" __global__ void max_pool_backward(
    const u32* cells, const float* dy, float* dx, int maps, int height, int width, int rows, int columns,
    int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int padding_rows, int padding_columns) {
    FOR_EACH(i, maps * height * width) {
        int map = i / (height * width), cell = i % (height * width);
        int row = cell / width + padding_rows, column = cell % width + padding_columns;
        // Windows that cover it: stride * w <= row < stride * w + kernel.
        int first_row = max(row - kernel_rows + stride_rows, 0) / stride_rows;
        int first_column = max(column - kernel_columns + stride_columns, 0) / stride_columns;
        float sum = 0.0f;
        for (int r = first_row; r <= min(row / stride_rows, rows - 1); ++r) {
            for (int c = first_column; c <= min(column / stride_columns, columns - 1); ++c) {
                int window = (map * rows + r) * columns + c;
                sum += cells[window] == (u32)cell ? dy[window] : 0.0f;
            }
        }
        dx[i] = sum;
    }
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
