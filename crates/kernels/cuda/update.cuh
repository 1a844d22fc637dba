// In-place updates of many tensors in one launch. The table of tensors is a kernel argument, so nothing is copied first.

#define TENSORS 64
// Elements that one block takes.
#define CHUNK 4096

// `target[i]` is changed, with what `mean[i]` and `square[i]` keep of it, by `value[i]`; all have `size[i]` elements.
// Chunks are numbered through: those of tensor i begin with `chunk[i]`.
struct Tensors {
    float* target[TENSORS];
    float* mean[TENSORS];
    float* square[TENSORS];
    const float* value[TENSORS];
    float decay[TENSORS];
    int size[TENSORS];
    int chunk[TENSORS];
    int count;
};

// The tensor that this block works on.
static __device__ __forceinline__ int tensor_of(const Tensors& tensors) {
    int tensor = 0;
    while (tensor + 1 < tensors.count && tensors.chunk[tensor + 1] <= (int)blockIdx.x) {
        ++tensor;
    }
    return tensor;
}

#define FOR_CHUNK(i, tensors, tensor)                                                  \
    for (int i = ((int)blockIdx.x - (tensors).chunk[tensor]) * CHUNK + threadIdx.x,    \
             end = min(i - (int)threadIdx.x + CHUNK, (tensors).size[tensor]);          \
         i < end; i += blockDim.x)

// g = value + decay p; v = keep v + g; p -= lr v (or lr (g + momentum v) with Nesterov). `keep` is 0 at the first step.
extern "C" __global__ void sgd(Tensors tensors, float lr, float momentum, float keep, int nesterov) {
    int t = tensor_of(tensors);
    FOR_CHUNK(i, tensors, t) {
        float p = tensors.target[t][i], g = tensors.value[t][i] + tensors.decay[t] * p;
        // At the first step nothing is read of the velocity: it may be anything.
        float v = keep != 0.0f ? keep * tensors.mean[t][i] + g : g;
        tensors.mean[t][i] = v;
        tensors.target[t][i] = p - lr * (nesterov ? g + momentum * v : v);
    }
}

// m = keep m + take g; s = keep s + take g^2; p = p shrink - rate m / (sqrt(s) inverse + eps), shrink = 1 - lr decay.
extern "C" __global__ void adamw(
    Tensors tensors, float keep_mean, float take_mean, float keep_square, float take_square, float lr, float rate,
    float inverse, float eps) {
    int t = tensor_of(tensors);
    float shrink = 1.0f - lr * tensors.decay[t];
    FOR_CHUNK(i, tensors, t) {
        float g = tensors.value[t][i];
        float m = keep_mean * tensors.mean[t][i] + take_mean * g;
        float s = keep_square * tensors.square[t][i] + take_square * g * g;
        tensors.mean[t][i] = m;
        tensors.square[t][i] = s;
        tensors.target[t][i] = tensors.target[t][i] * shrink - rate * m / (sqrtf(s) * inverse + eps);
    }
}

// target = keep target + take value: moving averages, sums of gradients with keep = take = 1, copies with keep = 0, of which
// nothing is kept that was there, not even a NaN.
extern "C" __global__ void average(Tensors tensors, float keep, float take) {
    int t = tensor_of(tensors);
    FOR_CHUNK(i, tensors, t) {
        float kept = keep == 0.0f ? 0.0f : keep * tensors.target[t][i];
        tensors.target[t][i] = kept + take * tensors.value[t][i];
    }
}

// target = factor target
extern "C" __global__ void scale(Tensors tensors, float factor) {
    int t = tensor_of(tensors);
    FOR_CHUNK(i, tensors, t) { tensors.target[t][i] *= factor; }
}

// The sum of squares of each chunk of the values.
extern "C" __global__ void squares_partial(Tensors tensors, float* parts) {
    int t = tensor_of(tensors);
    float sum = 0.0f;
    FOR_CHUNK(i, tensors, t) { sum += tensors.value[t][i] * tensors.value[t][i]; }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

// The sum of squares of each tensor, from those of its chunks.
extern "C" __global__ void squares_finish(Tensors tensors, const float* parts, float* squares) {
    FOR_EACH(t, tensors.count) {
        double sum = 0.0;
        for (int chunk = 0; chunk < (tensors.size[t] + CHUNK - 1) / CHUNK; ++chunk) {
            sum += parts[tensors.chunk[t] + chunk];
        }
        squares[t] = (float)sum;
    }
}

// factor = min(1, max_norm / (norm + 1e-6)) of the tensors with these sums of squares, by one block; 1 where that is no
// number.
extern "C" __global__ void clip_factor(const float* squares, float* factor, int count, float max_norm) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        sum += squares[i];
    }
    float share = max_norm / (sqrtf(block_sum(sum)) + 1e-6f);
    if (threadIdx.x == 0) {
        factor[0] = share < 1.0f ? share : 1.0f;
    }
}

// target = factor target, where the factor isn't 1
extern "C" __global__ void scale_by(Tensors tensors, const float* factor) {
    if (factor[0] == 1.0f) {
        return;
    }
    int t = tensor_of(tensors);
    FOR_CHUNK(i, tensors, t) { tensors.target[t][i] *= factor[0]; }
}
