// Moving elements without computing.

// The tokens of x [batch, tokens, width] in another order: token i of y is that at source[i].
extern "C" __global__ void reorder(const float* x, const u32* source, float* y, int batch, int tokens, int width) {
    FOR_EACH(i, batch * tokens * width) {
        int place = i / width, token = place % tokens;
        y[i] = x[(place - token + (int)source[token]) * width + i % width];
    }
}

// Each of `count` matrices [rows, columns], transposed: a tile of 32 x 32 a block, 8 threads to a column.
// Grid: tiles x matrices, of which a block takes several where there are more.
template <class From, class To>
static __device__ void transpose_of(
    const From* x, To* y, int count, int rows, int columns, float (*tile)[WARP + 1]) {
    int across = (columns + WARP - 1) / WARP;
    int first_row = blockIdx.x / across * WARP, first_column = blockIdx.x % across * WARP;
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP, lines = blockDim.x / WARP;
    for (int matrix = blockIdx.y; matrix < count; matrix += gridDim.y) {
        const From* from = x + matrix * rows * columns;
        To* to = y + matrix * rows * columns;
        for (int i = line; i < WARP; i += lines) {
            int row = first_row + i, column = first_column + lane;
            if (row < rows && column < columns) {
                tile[i][lane] = widened(from[row * columns + column]);
            }
        }
        __syncthreads();
        for (int i = line; i < WARP; i += lines) {
            int row = first_column + i, column = first_row + lane;
            if (row < columns && column < rows) {
                put(to + row * rows + column, tile[lane][i]);
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void transpose(const float* x, float* y, int count, int rows, int columns) {
    __shared__ float tile[WARP][WARP + 1];
    transpose_of(x, y, count, rows, columns, tile);
}

extern "C" __global__ void transpose_to_bf16(const float* x, bf16* y, int count, int rows, int columns) {
    __shared__ float tile[WARP][WARP + 1];
    transpose_of(x, y, count, rows, columns, tile);
}

extern "C" __global__ void transpose_from_bf16(const bf16* x, float* y, int count, int rows, int columns) {
    __shared__ float tile[WARP][WARP + 1];
    transpose_of(x, y, count, rows, columns, tile);
}

// The same where a side is shorter than a tile. Short rows, as the taps of filters are: a thread for each row, which it reads
// whole while its neighbours write beside it. Else an element a thread: neighbours read from few lines.
template <class From, class To>
static __device__ void transpose_thin_of(const From* x, To* y, int count, int rows, int columns) {
    if (columns < rows) {
        FOR_EACH(line, count * rows) {
            To* to = y + line / rows * rows * columns + line % rows;
            for (int column = 0; column < columns; ++column) {
                put(to + column * rows, widened(x[line * columns + column]));
            }
        }
    } else {
        FOR_EACH(i, count * rows * columns) {
            int at = i % (rows * columns);
            put(y + i, widened(x[i - at + at % rows * columns + at / rows]));
        }
    }
}

extern "C" __global__ void transpose_thin(const float* x, float* y, int count, int rows, int columns) {
    transpose_thin_of(x, y, count, rows, columns);
}

extern "C" __global__ void transpose_thin_to_bf16(const float* x, bf16* y, int count, int rows, int columns) {
    transpose_thin_of(x, y, count, rows, columns);
}

extern "C" __global__ void transpose_thin_from_bf16(const bf16* x, float* y, int count, int rows, int columns) {
    transpose_thin_of(x, y, count, rows, columns);
}
