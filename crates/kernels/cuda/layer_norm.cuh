// Layer normalisation of rows, a warp each.

// y = (x - mean) inverse weight + bias; mean and inverse deviation of each row are kept for the gradients.
extern "C" __global__ void layer_norm_forward(
    const float* x, const float* weight, const float* bias, float* y, float* means, float* inverses, int rows,
    int width, float eps) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) {
        return;
    }
    const float* line = x + row * width;
    float sum = 0.0f, square = 0.0f, off = 0.0f;
    for (int i = lane; i < width; i += WARP) {
        sum += line[i];
    }
    float mean = warp_sum(sum) / width;
    for (int i = lane; i < width; i += WARP) {
        square += (line[i] - mean) * (line[i] - mean);
        off += line[i] - mean;
    }
    // The mean is itself rounded: what that leaves of it in the differences is taken out of the variance.
    float rest = warp_sum(off) / width;
    float variance = fmaxf(warp_sum(square) / width - rest * rest, 0.0f);
    mean += rest;
    float inverse = 1.0f / sqrtf(variance + eps);
    for (int i = lane; i < width; i += WARP) {
        y[row * width + i] = (line[i] - mean) * inverse * weight[i] + bias[i];
    }
    if (lane == 0) {
        means[row] = mean;
        inverses[row] = inverse;
    }
}

extern "C" __global__ void layer_norm_backward_input(
    const float* x, const float* weight, const float* means, const float* inverses, const float* dy, float* dx,
    int rows, int width) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) {
        return;
    }
    float mean = means[row], inverse = inverses[row], average = 0.0f, slope = 0.0f;
    for (int i = lane; i < width; i += WARP) {
        float scaled = dy[row * width + i] * weight[i];
        average += scaled;
        slope += scaled * (x[row * width + i] - mean) * inverse;
    }
    average = warp_sum(average) / width;
    slope = warp_sum(slope) / width;
    for (int i = lane; i < width; i += WARP) {
        float normal = (x[row * width + i] - mean) * inverse;
        dx[row * width + i] = inverse * (dy[row * width + i] * weight[i] - average - slope * normal);
    }
}

// Sums over the rows of a slice, for each column: parts [2, slices, width], weights first. Grid: columns x slices.
extern "C" __global__ void layer_norm_backward_partial(
    const float* x, const float* means, const float* inverses, const float* dy, float* parts, int rows, int width,
    int per_slice, int slices) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, slice = blockIdx.y;
    if (column >= width) {
        return;
    }
    float by_weight = 0.0f, by_bias = 0.0f;
    for (int row = slice * per_slice; row < min((slice + 1) * per_slice, rows); ++row) {
        float slope = dy[row * width + column];
        by_weight += slope * (x[row * width + column] - means[row]) * inverses[row];
        by_bias += slope;
    }
    parts[slice * width + column] = by_weight;
    parts[(slices + slice) * width + column] = by_bias;
}

extern "C" __global__ void layer_norm_backward_finish(
    const float* parts, float* by_weight, float* by_bias, int width, int slices) {
    FOR_EACH(column, width) {
        float weight = 0.0f, bias = 0.0f;
        for (int slice = 0; slice < slices; ++slice) {
            weight += parts[slice * width + column];
            bias += parts[(slices + slice) * width + column];
        }
        by_weight[column] = weight;
        by_bias[column] = bias;
    }
}
