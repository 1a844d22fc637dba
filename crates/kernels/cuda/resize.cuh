// Fixed linear maps along rows and columns: interpolation and average pooling, alone and with the softmax over maps.
//
// A map of an axis is a table: `start` [outputs + 1], then `index` and `weight` [entries], which say what each output is
// the sum of. The table of the rows and that of the columns follow each other. The adjoint is the same with the tables
// transposed, so it has no kernel of its own.

struct Axis {
    const u32* start;
    const u32* index;
    const float* weight;
};

static __device__ __forceinline__ Axis axis(const u32* table, int outputs, int entries) {
    const u32* index = table + outputs + 1;
    return {table, index, reinterpret_cast<const float*>(index + entries)};
}

// The value at (row, column) of the result of one map.
static __device__ __forceinline__ float resized(
    const float* map, const Axis& rows, const Axis& columns, int row, int column, int width) {
    float sum = 0.0f;
    for (u32 i = rows.start[row]; i < rows.start[row + 1]; ++i) {
        const float* line = map + rows.index[i] * width;
        float along = 0.0f;
        for (u32 j = columns.start[column]; j < columns.start[column + 1]; ++j) {
            along += columns.weight[j] * line[columns.index[j]];
        }
        sum += rows.weight[i] * along;
    }
    return sum;
}

// x [maps, height, width] to y [maps, rows, columns].
extern "C" __global__ void resize(
    const float* x, float* y, const u32* table, int maps, int height, int width, int rows, int columns,
    int row_entries, int column_entries) {
    Axis by_row = axis(table, rows, row_entries);
    Axis by_column = axis(table + rows + 1 + 2 * row_entries, columns, column_entries);
    FOR_EACH(i, maps * rows * columns) {
        int map = i / (rows * columns), at = i % (rows * columns);
        y[i] = resized(x + map * height * width, by_row, by_column, at / columns, at % columns, width);
    }
}

// As `resize`, then the softmax over the `count` maps of a sample at each pixel. Grid over samples and pixels.
extern "C" __global__ void resize_softmax(
    const float* x, float* y, const u32* table, int samples, int count, int height, int width, int rows, int columns,
    int row_entries, int column_entries) {
    Axis by_row = axis(table, rows, row_entries);
    Axis by_column = axis(table + rows + 1 + 2 * row_entries, columns, column_entries);
    int area = rows * columns;
    FOR_EACH(i, samples * area) {
        int sample = i / area, at = i % area;
        const float* maps = x + sample * count * height * width;
        float* to = y + sample * count * area + at;
        float top = -INFINITY, total = 0.0f;
        for (int map = 0; map < count; ++map) {
            float value = resized(maps + map * height * width, by_row, by_column, at / columns, at % columns, width);
            to[map * area] = value;
            top = fmaxf(top, value);
        }
        for (int map = 0; map < count; ++map) {
            float value = expf(to[map * area] - top);
            to[map * area] = value;
            total += value;
        }
        for (int map = 0; map < count; ++map) {
            to[map * area] /= total;
        }
    }
}

// The gradient of the softmax over maps from its result: y (dy - sum over maps of y dy).
extern "C" __global__ void map_softmax_backward(
    const float* y, const float* dy, float* dx, int samples, int count, int area) {
    FOR_EACH(i, samples * area) {
        int first = i / area * count * area + i % area;
        float mean = 0.0f;
        for (int map = 0; map < count; ++map) {
            mean += y[first + map * area] * dy[first + map * area];
        }
        for (int map = 0; map < count; ++map) {
            int at = first + map * area;
            dx[at] = y[at] * (dy[at] - mean);
        }
    }
}
