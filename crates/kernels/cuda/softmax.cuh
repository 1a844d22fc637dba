// Softmax cross-entropy with one class or one weight per class, smoothed; a block for each row.

// The weight of class k: (1 - smoothing) target + smoothing / classes. One of `labels` and `weights` is null.
static __device__ __forceinline__ float target_of(
    const u32* labels, const float* weights, int row, int k, int classes, float smoothing) {
    float given = labels ? (labels[row] == (u32)k ? 1.0f : 0.0f) : weights[row * classes + k];
    return (1.0f - smoothing) * given + smoothing / classes;
}

// losses[row] = -sum_k target_k log softmax(logits)_k; NaN for a label out of range, so that it is seen.
extern "C" __global__ void cross_entropy_forward(
    const float* logits, const u32* labels, const float* weights, float* losses, int classes, float smoothing) {
    int row = blockIdx.x;
    const float* line = logits + row * classes;
    float top = -INFINITY;
    for (int k = threadIdx.x; k < classes; k += blockDim.x) {
        top = fmaxf(top, line[k]);
    }
    top = block_max(top);
    float sum = 0.0f, total = 0.0f, chosen = 0.0f;
    for (int k = threadIdx.x; k < classes; k += blockDim.x) {
        float target = target_of(labels, weights, row, k, classes, smoothing);
        sum += expf(line[k] - top);
        total += target;
        // A class without weight counts for nothing, also where its logit is infinite.
        chosen += target != 0.0f ? target * (line[k] - top) : 0.0f;
    }
    sum = block_sum(sum);
    total = block_sum(total);
    chosen = block_sum(chosen);
    if (threadIdx.x == 0) {
        losses[row] = labels && labels[row] >= (u32)classes ? NAN : total * logf(sum) - chosen;
    }
}

// dlogits = (sum(target) softmax - target) dloss; the gradient of row r is dlosses[r * step] * factor.
extern "C" __global__ void cross_entropy_backward(
    const float* logits, const u32* labels, const float* weights, const float* dlosses, float* dlogits, int classes,
    float smoothing, int step, float factor) {
    int row = blockIdx.x;
    const float* line = logits + row * classes;
    float top = -INFINITY;
    for (int k = threadIdx.x; k < classes; k += blockDim.x) {
        top = fmaxf(top, line[k]);
    }
    top = block_max(top);
    float sum = 0.0f, total = 0.0f;
    for (int k = threadIdx.x; k < classes; k += blockDim.x) {
        sum += expf(line[k] - top);
        total += target_of(labels, weights, row, k, classes, smoothing);
    }
    sum = block_sum(sum);
    total = block_sum(total);
    float slope = dlosses[row * step] * factor;
    for (int k = threadIdx.x; k < classes; k += blockDim.x) {
        float target = target_of(labels, weights, row, k, classes, smoothing);
        dlogits[row * classes + k] = (expf(line[k] - top) * (total / sum) - target) * slope;
    }
}

// The mean of a few values, by one block.
extern "C" __global__ void mean_of(const float* x, float* y, int count) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        sum += x[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        y[0] = sum / count;
    }
}

// What mixed samples should be: targets[row, k] = sum_i weights[row, i] (floor + keep [labels[i, row] = k]).
extern "C" __global__ void mixed_targets(
    const u32* labels, const float* weights, float* targets, int rows, int classes, int count, float keep, float floor) {
    FOR_EACH(at, rows * classes) {
        int row = at / classes, k = at % classes;
        float sum = 0.0f, chosen = 0.0f;
        for (int i = 0; i < count; ++i) {
            float weight = weights[row * count + i];
            sum += weight;
            chosen += labels[i * rows + row] == (u32)k ? keep * weight : 0.0f;
        }
        targets[at] = floor * sum + chosen;
    }
}
