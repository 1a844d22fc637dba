// Batch normalisation, fused with a ReLU, or a shortcut and a ReLU: of floats [batch, channels, pixels], or of bf16 with the
// channels of a pixel side by side, [batch, channels] with a row for each pixel.
//
// What is summed is cut into slices, of whole pictures or of rows, so that few channels still fill the device. Sums are taken
// around a pivot, a value of the slice or the mean of some, and slices are merged in order and in double precision around the mean of one: E[x^2] - E[x]^2
// would lose all digits when the mean is large.

// How far the channel of a lane is from that of the lane before.
template <class T>
struct Channels {
    static const int STEP = 0;
};
template <>
struct Channels<bf16> {
    static const int STEP = 1;
};

// The values of the channels of a thread's lanes, the first of which is `first`.
template <class T, int WIDTH>
static __device__ __forceinline__ Lanes<WIDTH> of_channels(const float* values, int first) {
    if constexpr (Channels<T>::STEP == 1) {
        return load<WIDTH>(values + first);
    } else {
        Lanes<WIDTH> lanes;
        float value = values[first];
        for (int lane = 0; lane < WIDTH; ++lane) {
            lanes.at[lane] = value;
        }
        return lanes;
    }
}

// What is known of the channels of a thread's lanes, and the value that a batch norm gives before a shortcut and a ReLU.
template <int WIDTH>
struct Affine {
    Lanes<WIDTH> centre, slope, shift;

    __device__ __forceinline__ float at(int lane, float x) const {
        return fmaf(x - centre.at[lane], slope.at[lane], shift.at[lane]);
    }
};

template <class T, int WIDTH>
static __device__ __forceinline__ Affine<WIDTH> affine_of_channels(
    const float* mean, const float* inverse, const float* weight, const float* bias, int first) {
    Affine<WIDTH> affine = {of_channels<T, WIDTH>(mean, first), of_channels<T, WIDTH>(inverse, first),
                            of_channels<T, WIDTH>(bias, first)};
    Lanes<WIDTH> scale = of_channels<T, WIDTH>(weight, first);
    for (int lane = 0; lane < WIDTH; ++lane) {
        affine.slope.at[lane] *= scale.at[lane];
    }
    return affine;
}

// What a gradient is past the ReLU after a batch norm: where the result was above 0. With a shortcut the result is read (y);
// alone (y is null) it is computed again, which moves a third less.
template <class T, int WIDTH>
static __device__ __forceinline__ void pass_relu(
    Lanes<WIDTH>& grad, const T* y, int at, const Lanes<WIDTH>& x, const Affine<WIDTH>& affine) {
    Lanes<WIDTH> out;
    if (y) {
        out = load<WIDTH>(y + at);
    } else {
        for (int lane = 0; lane < WIDTH; ++lane) {
            out.at[lane] = affine.at(lane, x.at[lane]);
        }
    }
    for (int lane = 0; lane < WIDTH; ++lane) {
        grad.at[lane] = out.at[lane] > 0.0f ? grad.at[lane] : 0.0f;
    }
}

// Where the element with the number `i` among those of a slice of a channel lies.
static __device__ __forceinline__ int in_slice(int i, int first, int channel, int channels, int pixels) {
    return ((first + i / pixels) * channels + channel) * pixels + i % pixels;
}

// The mean of a slice and the sum of squared distances from it. `sum` and `square` are those of the distances of its `count` values
// from a pivot.
static __device__ __forceinline__ void put_moments(
    float* mean, float* spread, float pivot, float sum, float square, int count) {
    double off = (double)sum / count;
    float distances = (float)(square - sum * off);
    *mean = (float)(pivot + off);
    *spread = distances < 0.0f ? 0.0f : distances;
}

template <int WIDTH>
static __device__ void batch_norm_partial_of(
    const float* x, float* means, float* squares, int batch, int channels, int pixels, int pictures) {
    int channel = blockIdx.x, slice = blockIdx.y, first = slice * pictures;
    int count = (min(first + pictures, batch) - first) * pixels;
    // The mean of what each thread sees first: at the edge of a map, where padding shows, one value may be far from all others.
    int firsts = min((int)blockDim.x, (count + WIDTH - 1) / WIDTH);
    float own = threadIdx.x < firsts ? x[in_slice(threadIdx.x * WIDTH, first, channel, channels, pixels)] : 0.0f;
    float pivot = block_sum(own) / firsts, sum = 0.0f, square = 0.0f;
#pragma unroll 4
    for (int i = threadIdx.x * WIDTH; i < count; i += blockDim.x * WIDTH) {
        Lanes<WIDTH> lanes = load<WIDTH>(x + in_slice(i, first, channel, channels, pixels));
        for (int lane = 0; lane < WIDTH; ++lane) {
            float off = lanes.at[lane] - pivot;
            sum += off;
            square += off * off;
        }
    }
    sum = block_sum(sum);
    square = block_sum(square);
    if (threadIdx.x == 0) {
        int at = slice * channels + channel;
        put_moments(means + at, squares + at, pivot, sum, square, count);
    }
}

// Mean, and sum of squared distances from it, of each slice: [slices, channels]. Grid: channels x slices.
extern "C" __global__ void batch_norm_partial(
    const float* x, float* means, float* squares, int batch, int channels, int pixels, int pictures, int wide) {
    if (wide) {
        batch_norm_partial_of<4>(x, means, squares, batch, channels, pixels, pictures);
    } else {
        batch_norm_partial_of<1>(x, means, squares, batch, channels, pixels, pictures);
    }
}

// Mean, inverse deviation (biased variance) and unbiased variance of each channel, from those of its slices: a block each.
extern "C" __global__ void batch_norm_finish(
    const float* means, const float* squares, float* mean, float* inverse, float* unbiased, int batch, int channels,
    int pixels, int pictures, int slices, float eps) {
    int channel = blockIdx.x;
    double count = (double)batch * pixels, pivot = means[channel], total = 0.0, spread = 0.0;
    for (int slice = threadIdx.x; slice < slices; slice += blockDim.x) {
        double part = (double)(min((slice + 1) * pictures, batch) - slice * pictures) * pixels;
        double off = means[slice * channels + channel] - pivot;
        total += part * off;
        spread += squares[slice * channels + channel] + part * off * off;
    }
    total = block_sum(total);
    spread = block_sum(spread) - total * total / count;
    if (threadIdx.x == 0) {
        spread = spread < 0.0 ? 0.0 : spread;
        mean[channel] = (float)(pivot + total / count);
        inverse[channel] = (float)(1.0 / sqrt(spread / count + (double)eps));
        unbiased[channel] = (float)(spread / (count - 1.0));
    }
}

// 1 / sqrt(variance + eps), for given statistics.
extern "C" __global__ void batch_norm_inverse(const float* variance, float* inverse, int channels, float eps) {
    FOR_EACH(channel, channels) { inverse[channel] = (float)(1.0 / sqrt((double)variance[channel] + (double)eps)); }
}

template <class T, int WIDTH>
static __device__ void batch_norm_apply_of(
    const T* x, const float* mean, const float* inverse, const float* weight, const float* bias, const T* residual, T* y,
    int channels, int pixels, int count, int relu) {
    FOR_EACH(group, count / WIDTH) {
        int i = group * WIDTH, first = i / pixels % channels;
        Lanes<WIDTH> lanes = load<WIDTH>(x + i), other;
        if (residual) {
            other = load<WIDTH>(residual + i);
        }
        Affine<WIDTH> affine = affine_of_channels<T, WIDTH>(mean, inverse, weight, bias, first);
        for (int lane = 0; lane < WIDTH; ++lane) {
            float value = affine.at(lane, lanes.at[lane]);
            if (residual) {
                value += other.at[lane];
            }
            lanes.at[lane] = relu ? positive(value) : value;
        }
        store<WIDTH>(y + i, lanes);
    }
}

// y = (x - mean) inverse weight + bias, plus the residual where there is one, through a ReLU where it is asked for.
extern "C" __global__ void batch_norm_apply(
    const float* x, const float* mean, const float* inverse, const float* weight, const float* bias,
    const float* residual, float* y, int channels, int pixels, int count, int relu, int wide) {
    if (wide) {
        batch_norm_apply_of<float, 4>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    } else {
        batch_norm_apply_of<float, 1>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    }
}

extern "C" __global__ void batch_norm_apply_bf16(
    const bf16* x, const float* mean, const float* inverse, const float* weight, const float* bias, const bf16* residual,
    bf16* y, int channels, int pixels, int count, int relu, int wide) {
    if (wide) {
        batch_norm_apply_of<bf16, 8>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    } else {
        batch_norm_apply_of<bf16, 1>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    }
}

template <int WIDTH>
static __device__ void batch_norm_sums_of(
    const float* grad, const float* x, const float* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, float* totals, float* aligned, int batch, int channels, int pixels, int pictures, int relu) {
    int channel = blockIdx.x, slice = blockIdx.y, first = slice * pictures;
    int count = (min(first + pictures, batch) - first) * pixels;
    Affine<WIDTH> affine = affine_of_channels<float, WIDTH>(mean, inverse, weight, bias, channel);
    float total = 0.0f, product = 0.0f;
#pragma unroll 2
    for (int i = threadIdx.x * WIDTH; i < count; i += blockDim.x * WIDTH) {
        int at = in_slice(i, first, channel, channels, pixels);
        Lanes<WIDTH> g = load<WIDTH>(grad + at), in = load<WIDTH>(x + at);
        if (relu) {
            pass_relu<float, WIDTH>(g, y, at, in, affine);
        }
        for (int lane = 0; lane < WIDTH; ++lane) {
            total += g.at[lane];
            product += g.at[lane] * (in.at[lane] - affine.centre.at[lane]);
        }
    }
    total = block_sum(total);
    product = block_sum(product);
    if (threadIdx.x == 0) {
        totals[slice * channels + channel] = total;
        aligned[slice * channels + channel] = product;
    }
}

// Sums of g and of g (x - mean) over each slice, g past the ReLU, if there was one.
extern "C" __global__ void batch_norm_sums(
    const float* grad, const float* x, const float* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, float* totals, float* aligned, int batch, int channels, int pixels, int pictures, int relu,
    int wide) {
    if (wide) {
        batch_norm_sums_of<4>(
            grad, x, y, mean, inverse, weight, bias, totals, aligned, batch, channels, pixels, pictures, relu);
    } else {
        batch_norm_sums_of<1>(
            grad, x, y, mean, inverse, weight, bias, totals, aligned, batch, channels, pixels, pictures, relu);
    }
}

// The gradients by weight and bias, and what batch_norm_gradient takes off: shift and tilt, 0 for given statistics. A block
// for each channel.
extern "C" __global__ void batch_norm_sums_finish(
    const float* totals, const float* aligned, const float* inverse, float* by_weight, float* by_bias, float* shift,
    float* tilt, int batch, int channels, int pixels, int slices, int training) {
    int channel = blockIdx.x;
    double total = 0.0, product = 0.0, count = (double)batch * pixels, scale = inverse[channel];
    for (int slice = threadIdx.x; slice < slices; slice += blockDim.x) {
        total += totals[slice * channels + channel];
        product += aligned[slice * channels + channel];
    }
    total = block_sum(total);
    product = block_sum(product);
    if (threadIdx.x == 0) {
        by_weight[channel] = (float)(product * scale);
        by_bias[channel] = (float)total;
        shift[channel] = training ? (float)(total / count) : 0.0f;
        tilt[channel] = training ? (float)(product / count * scale * scale) : 0.0f;
    }
}

template <class T, int WIDTH>
static __device__ void batch_norm_gradient_of(
    const T* grad, const T* x, const T* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, const float* shift, const float* tilt, T* by_input, T* by_residual, int channels, int pixels,
    int count, int relu) {
    FOR_EACH(group, count / WIDTH) {
        int i = group * WIDTH, first = i / pixels % channels;
        // All that is read, before anything is written.
        Lanes<WIDTH> g = load<WIDTH>(grad + i), in = load<WIDTH>(x + i);
        Affine<WIDTH> affine = affine_of_channels<T, WIDTH>(mean, inverse, weight, bias, first);
        if (relu) {
            pass_relu<T, WIDTH>(g, y, i, in, affine);
        }
        if (by_input) {
            Lanes<WIDTH> moved = of_channels<T, WIDTH>(shift, first), tilted = of_channels<T, WIDTH>(tilt, first);
            for (int lane = 0; lane < WIDTH; ++lane) {
                float off = in.at[lane] - affine.centre.at[lane];
                in.at[lane] = (g.at[lane] - moved.at[lane] - off * tilted.at[lane]) * affine.slope.at[lane];
            }
            store<WIDTH>(by_input + i, in);
        }
        if (by_residual) {
            store<WIDTH>(by_residual + i, g);
        }
    }
}

// The gradients by input and by residual (null: not wanted), from that of the result.
extern "C" __global__ void batch_norm_gradient(
    const float* grad, const float* x, const float* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, const float* shift, const float* tilt, float* by_input, float* by_residual, int channels,
    int pixels, int count, int relu, int wide) {
    if (wide) {
        batch_norm_gradient_of<float, 4>(
            grad, x, y, mean, inverse, weight, bias, shift, tilt, by_input, by_residual, channels, pixels, count, relu);
    } else {
        batch_norm_gradient_of<float, 1>(
            grad, x, y, mean, inverse, weight, bias, shift, tilt, by_input, by_residual, channels, pixels, count, relu);
    }
}

extern "C" __global__ void batch_norm_gradient_bf16(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, const float* inverse, const float* weight,
    const float* bias, const float* shift, const float* tilt, bf16* by_input, bf16* by_residual, int channels,
    int pixels, int count, int relu, int wide) {
    if (wide) {
        batch_norm_gradient_of<bf16, 8>(
            grad, x, y, mean, inverse, weight, bias, shift, tilt, by_input, by_residual, channels, pixels, count, relu);
    } else {
        batch_norm_gradient_of<bf16, 1>(
            grad, x, y, mean, inverse, weight, bias, shift, tilt, by_input, by_residual, channels, pixels, count, relu);
    }
}
