// Attention between its matrix products: heads apart and together again, and the softmax of scores.

// Values lie together, [batch, tokens, parts, heads, width], or apart, [parts, batch, heads, tokens, width]. Copies
// the parts from `first` on, one for each row of the grid; what is apart has only those.
extern "C" __global__ void heads_copy(
    const float* from, float* to, int batch, int tokens, int parts, int first, int heads, int width, int to_apart) {
    int channels = heads * width, size = batch * tokens * channels;
    int offset = blockIdx.y * size, part = first + blockIdx.y;
    FOR_EACH(i, size) {
        int channel = i % channels, place = i / channels, token = place % tokens, sample = place / tokens;
        int together = (place * parts + part) * channels + channel;
        int row = (sample * heads + channel / width) * tokens + token;
        int apart = offset + row * width + channel % width;
        if (to_apart) {
            to[apart] = from[together];
        } else {
            to[together] = from[apart];
        }
    }
}

// What a row of scores [batch, heads, tokens, tokens] becomes before the softmax.
struct Scores {
    const float* line;
    const float* bias;
    const float* mask;
    float scale;
};

static __device__ __forceinline__ float score(const Scores& scores, int key) {
    float value = scores.line[key] * scores.scale;
    value += scores.bias ? scores.bias[key] : 0.0f;
    return value + (scores.mask ? scores.mask[key] : 0.0f);
}

// weights = softmax(scale scores + bias + mask), a warp for each row. `bias` [heads, tokens, tokens] and `mask`
// [windows, tokens, tokens], of which sequence b has number b % windows, may be null.
extern "C" __global__ void attention_softmax(
    const float* scores, const float* bias, const float* mask, float* weights, int rows, int tokens, int heads,
    int windows, float scale) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) {
        return;
    }
    int query = row % tokens, head = row / tokens % heads, window = row / tokens / heads % windows;
    Scores line = {
        scores + row * tokens, bias ? bias + (head * tokens + query) * tokens : bias,
        mask ? mask + (window * tokens + query) * tokens : mask, scale};
    float top = -INFINITY, sum = 0.0f;
    for (int key = lane; key < tokens; key += WARP) {
        top = fmaxf(top, score(line, key));
    }
    top = warp_max(top);
    for (int key = lane; key < tokens; key += WARP) {
        sum += expf(score(line, key) - top);
    }
    float inverse = 1.0f / warp_sum(sum);
    for (int key = lane; key < tokens; key += WARP) {
        weights[row * tokens + key] = expf(score(line, key) - top) * inverse;
    }
}

// The gradient by the scores, slopes = scale weights (dweights - sum(weights dweights)), a warp for each row.
extern "C" __global__ void attention_softmax_backward(
    const float* weights, const float* dweights, float* slopes, int rows, int tokens, float scale) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) {
        return;
    }
    const float *line = weights + row * tokens, *dline = dweights + row * tokens;
    float sum = 0.0f;
    for (int key = lane; key < tokens; key += WARP) {
        sum += line[key] * dline[key];
    }
    sum = warp_sum(sum);
    for (int key = lane; key < tokens; key += WARP) {
        slopes[row * tokens + key] = scale * line[key] * (dline[key] - sum);
    }
}

// Sums of slopes over the sequences of a slice, parts [slices, count] for count = heads tokens^2. Grid: elements x slices.
extern "C" __global__ void attention_bias_partial(
    const float* slopes, float* parts, int batch, int count, int per_slice) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, slice = blockIdx.y;
    if (i >= count) {
        return;
    }
    float sum = 0.0f;
    for (int b = slice * per_slice; b < min((slice + 1) * per_slice, batch); ++b) {
        sum += slopes[b * count + i];
    }
    parts[slice * count + i] = sum;
}

// The gradient by the bias, from the sums of the slices; `factor` takes the scale of the slopes out again.
extern "C" __global__ void attention_bias_finish(
    const float* parts, float* dbias, int count, int slices, float factor) {
    FOR_EACH(i, count) {
        float sum = 0.0f;
        for (int slice = 0; slice < slices; ++slice) {
            sum += parts[slice * count + i];
        }
        dbias[i] = factor * sum;
    }
}
