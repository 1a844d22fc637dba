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
extern "C" __global__ void transpose(const float* x, float* y, int count, int rows, int columns) {
    __shared__ float tile[WARP][WARP + 1];
    int across = (columns + WARP - 1) / WARP;
    int first_row = blockIdx.x / across * WARP, first_column = blockIdx.x % across * WARP;
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP, lines = blockDim.x / WARP;
    for (int matrix = blockIdx.y; matrix < count; matrix += gridDim.y) {
        const float* from = x + matrix * rows * columns;
        float* to = y + matrix * rows * columns;
        for (int i = line; i < WARP; i += lines) {
            int row = first_row + i, column = first_column + lane;
            if (row < rows && column < columns) {
                tile[i][lane] = from[row * columns + column];
            }
        }
        __syncthreads();
        for (int i = line; i < WARP; i += lines) {
            int row = first_column + i, column = first_row + lane;
            if (row < columns && column < rows) {
                to[row * rows + column] = tile[lane][i];
            }
        }
        __syncthreads();
    }
}
