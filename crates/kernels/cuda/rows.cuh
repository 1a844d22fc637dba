// Rows of channels: what is added to them, and the sums over them that gradients are.

// y = x + channels samples branch, with `per_sample` elements to a sample; x, channels and samples may be absent.
extern "C" __global__ void residual(
    const float* x, const float* branch, const float* channels, const float* samples, float* y, int count, int width,
    int per_sample) {
    FOR_EACH(i, count) {
        float scaled = branch[i];
        if (channels) {
            scaled *= channels[i % width];
        }
        if (samples) {
            scaled *= samples[i / per_sample];
        }
        y[i] = x ? x[i] + scaled : scaled;
    }
}

// Adds to each element the bias of its channel; `inner` neighbours are of one channel: 1 in rows, the pixels in maps.
extern "C" __global__ void add_bias(float* y, const float* bias, int count, int channels, int inner) {
    FOR_EACH(i, count) { y[i] += bias[i / inner % channels]; }
}

// Sums of samples x dy over the rows of a slice, for each column: parts [slices, width]; x and samples may be absent.
// Grid: columns x slices.
extern "C" __global__ void column_sums_partial(
    const float* x, const float* samples, const float* dy, float* parts, int rows, int width, int rows_per_sample,
    int per_slice) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, slice = blockIdx.y;
    if (column >= width) {
        return;
    }
    float sum = 0.0f;
    for (int row = slice * per_slice; row < min((slice + 1) * per_slice, rows); ++row) {
        float term = dy[row * width + column];
        if (x) {
            term *= x[row * width + column];
        }
        if (samples) {
            term *= samples[row / rows_per_sample];
        }
        sum += term;
    }
    parts[slice * width + column] = sum;
}

extern "C" __global__ void column_sums_finish(const float* parts, float* sums, int width, int slices) {
    FOR_EACH(column, width) {
        float sum = 0.0f;
        for (int slice = 0; slice < slices; ++slice) {
            sum += parts[slice * width + column];
        }
        sums[column] = sum;
    }
}
