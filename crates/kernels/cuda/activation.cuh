// ReLU and GELU, element by element.

extern "C" __global__ void relu_forward(const float* x, float* y, int count) {
    FOR_EACH(i, count) { y[i] = positive(x[i]); }
}

// No gradient passes where the result is 0.
extern "C" __global__ void relu_backward(const float* y, const float* dy, float* dx, int count) {
    FOR_EACH(i, count) { dx[i] = y[i] > 0.0f ? dy[i] : 0.0f; }
}

// The normal distribution function; erfcf keeps its digits far below 0, where 1 + erff has none left.
static __device__ __forceinline__ float normal_cdf(float x) {
    return 0.5f * erfcf(-x * 0.707106781f);
}

extern "C" __global__ void gelu_forward(const float* x, float* y, int count) {
    FOR_EACH(i, count) { y[i] = x[i] * normal_cdf(x[i]); }
}

extern "C" __global__ void gelu_backward(const float* x, const float* dy, float* dx, int count) {
    FOR_EACH(i, count) {
        float bell = expf(-0.5f * x[i] * x[i]) * 0.398942280f;
        dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * bell);
    }
}
