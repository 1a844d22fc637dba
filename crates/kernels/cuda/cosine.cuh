// Cosine similarity of rows; a block for each row.

struct Products {
    float xy, xx, yy;
};

static __device__ Products products_of(const float* x, const float* y, int width) {
    Products sums = {0.0f, 0.0f, 0.0f};
    for (int k = threadIdx.x; k < width; k += blockDim.x) {
        sums.xy += x[k] * y[k];
        sums.xx += x[k] * x[k];
        sums.yy += y[k] * y[k];
    }
    sums.xy = block_sum(sums.xy);
    sums.xx = block_sum(sums.xx);
    sums.yy = block_sum(sums.yy);
    return sums;
}

// similarities[row] = x y / (max(|x|, eps) max(|y|, eps))
extern "C" __global__ void cosine_forward(const float* x, const float* y, float* similarities, int width, float eps) {
    int row = blockIdx.x;
    Products sums = products_of(x + row * width, y + row * width, width);
    if (threadIdx.x == 0) {
        float least = eps * eps;
        similarities[row] = sums.xy / (sqrtf(fmaxf(sums.xx, least)) * sqrtf(fmaxf(sums.yy, least)));
    }
}

// The gradient of row r is slopes[r * step] * factor. `dx` or `dy` may be null. A norm below eps is eps, and so has no slope.
extern "C" __global__ void cosine_backward(
    const float* x, const float* y, const float* slopes, float* dx, float* dy, int width, float eps, int step,
    float factor) {
    int row = blockIdx.x;
    const float* left = x + row * width;
    const float* right = y + row * width;
    Products sums = products_of(left, right, width);
    float least = eps * eps, xx = fmaxf(sums.xx, least), yy = fmaxf(sums.yy, least);
    float slope = slopes[row * step] * factor / (sqrtf(xx) * sqrtf(yy));
    float by_left = sums.xx > least ? sums.xy / xx : 0.0f, by_right = sums.yy > least ? sums.xy / yy : 0.0f;
    for (int k = threadIdx.x; k < width; k += blockDim.x) {
        if (dx) {
            dx[row * width + k] = slope * (right[k] - by_left * left[k]);
        }
        if (dy) {
            dy[row * width + k] = slope * (left[k] - by_right * right[k]);
        }
    }
}
