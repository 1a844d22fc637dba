// Batch normalisation of [batch, channels, pixels], fused with a ReLU, or a shortcut and a ReLU.
//
// A channel is cut into slices of whole pictures, a block each, so that few channels still fill the device. Slices are
// merged in order and in double precision, around the mean of each: E[x^2] - E[x]^2 would lose all digits when the mean
// is large.

// Where the element with the number `i` among those of a slice of a channel lies.
static __device__ __forceinline__ int in_slice(int i, int first, int channel, int channels, int pixels) {
    return ((first + i / pixels) * channels + channel) * pixels + i % pixels;
}

template <int WIDTH>
static __device__ void batch_norm_partial_of(
    const float* x, float* means, float* squares, int batch, int channels, int pixels, int pictures) {
    int channel = blockIdx.x, slice = blockIdx.y, first = slice * pictures;
    int count = (min(first + pictures, batch) - first) * pixels;
    float sum = 0.0f;
    for (int i = threadIdx.x * WIDTH; i < count; i += blockDim.x * WIDTH) {
        Lanes<WIDTH> lanes = load<WIDTH>(x + in_slice(i, first, channel, channels, pixels));
        for (int lane = 0; lane < WIDTH; ++lane) {
            sum += lanes.at[lane];
        }
    }
    float mean = block_sum(sum) / count;
    float square = 0.0f;
    for (int i = threadIdx.x * WIDTH; i < count; i += blockDim.x * WIDTH) {
        Lanes<WIDTH> lanes = load<WIDTH>(x + in_slice(i, first, channel, channels, pixels));
        for (int lane = 0; lane < WIDTH; ++lane) {
            square += (lanes.at[lane] - mean) * (lanes.at[lane] - mean);
        }
    }
    square = block_sum(square);
    if (threadIdx.x == 0) {
        means[slice * channels + channel] = mean;
        squares[slice * channels + channel] = square;
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

// Mean, inverse deviation (biased variance) and unbiased variance of each channel, from those of its slices.
extern "C" __global__ void batch_norm_finish(
    const float* means, const float* squares, float* mean, float* inverse, float* unbiased, int batch, int channels,
    int pixels, int pictures, int slices, float eps) {
    FOR_EACH(channel, channels) {
        double count = (double)batch * pixels, total = 0.0, spread = 0.0;
        for (int slice = 0; slice < slices; ++slice) {
            double part = (double)(min((slice + 1) * pictures, batch) - slice * pictures) * pixels;
            total += part * means[slice * channels + channel];
        }
        double centre = total / count;
        for (int slice = 0; slice < slices; ++slice) {
            double part = (double)(min((slice + 1) * pictures, batch) - slice * pictures) * pixels;
            double off = means[slice * channels + channel] - centre;
            spread += squares[slice * channels + channel] + part * off * off;
        }
        mean[channel] = (float)centre;
        inverse[channel] = (float)(1.0 / sqrt(spread / count + (double)eps));
        unbiased[channel] = (float)(spread / (count - 1.0));
    }
}

// 1 / sqrt(variance + eps), for given statistics.
extern "C" __global__ void batch_norm_inverse(const float* variance, float* inverse, int channels, float eps) {
    FOR_EACH(channel, channels) { inverse[channel] = (float)(1.0 / sqrt((double)variance[channel] + (double)eps)); }
}

template <int WIDTH>
static __device__ void batch_norm_apply_of(
    const float* x, const float* mean, const float* inverse, const float* weight, const float* bias,
    const float* residual, float* y, int channels, int pixels, int count, int relu) {
    FOR_EACH(group, count / WIDTH) {
        int i = group * WIDTH, channel = i / pixels % channels;
        float centre = mean[channel], scale = inverse[channel] * weight[channel], shift = bias[channel];
        Lanes<WIDTH> lanes = load<WIDTH>(x + i), other;
        if (residual) {
            other = load<WIDTH>(residual + i);
        }
        for (int lane = 0; lane < WIDTH; ++lane) {
            float value = (lanes.at[lane] - centre) * scale + shift;
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
        batch_norm_apply_of<4>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    } else {
        batch_norm_apply_of<1>(x, mean, inverse, weight, bias, residual, y, channels, pixels, count, relu);
    }
}

template <int WIDTH>
static __device__ void batch_norm_sums_of(
    const float* grad, const float* x, const float* y, const float* mean, float* totals, float* aligned, int batch,
    int channels, int pixels, int pictures) {
    int channel = blockIdx.x, slice = blockIdx.y, first = slice * pictures;
    int count = (min(first + pictures, batch) - first) * pixels;
    float centre = mean[channel], total = 0.0f, product = 0.0f;
    for (int i = threadIdx.x * WIDTH; i < count; i += blockDim.x * WIDTH) {
        int at = in_slice(i, first, channel, channels, pixels);
        Lanes<WIDTH> g = load<WIDTH>(grad + at), in = load<WIDTH>(x + at), out;
        if (y) {
            out = load<WIDTH>(y + at);
        }
        for (int lane = 0; lane < WIDTH; ++lane) {
            float passed = y && !(out.at[lane] > 0.0f) ? 0.0f : g.at[lane];
            total += passed;
            product += passed * (in.at[lane] - centre);
        }
    }
    total = block_sum(total);
    product = block_sum(product);
    if (threadIdx.x == 0) {
        totals[slice * channels + channel] = total;
        aligned[slice * channels + channel] = product;
    }
}

// Sums of g and of g (x - mean) over each slice, g past the ReLU whose result was y (null: there was none).
extern "C" __global__ void batch_norm_sums(
    const float* grad, const float* x, const float* y, const float* mean, float* totals, float* aligned, int batch,
    int channels, int pixels, int pictures, int wide) {
    if (wide) {
        batch_norm_sums_of<4>(grad, x, y, mean, totals, aligned, batch, channels, pixels, pictures);
    } else {
        batch_norm_sums_of<1>(grad, x, y, mean, totals, aligned, batch, channels, pixels, pictures);
    }
}

// The gradients by weight and bias, and what batch_norm_gradient takes off: shift and tilt, 0 for given statistics.
extern "C" __global__ void batch_norm_sums_finish(
    const float* totals, const float* aligned, const float* inverse, float* by_weight, float* by_bias, float* shift,
    float* tilt, int batch, int channels, int pixels, int slices, int training) {
    FOR_EACH(channel, channels) {
        double total = 0.0, product = 0.0, count = (double)batch * pixels, scale = inverse[channel];
        for (int slice = 0; slice < slices; ++slice) {
            total += totals[slice * channels + channel];
            product += aligned[slice * channels + channel];
        }
        by_weight[channel] = (float)(product * scale);
        by_bias[channel] = (float)total;
        shift[channel] = training ? (float)(total / count) : 0.0f;
        tilt[channel] = training ? (float)(product / count * scale * scale) : 0.0f;
    }
}

template <int WIDTH>
static __device__ void batch_norm_gradient_of(
    const float* grad, const float* x, const float* y, const float* mean, const float* inverse, const float* weight,
    const float* shift, const float* tilt, float* by_input, float* by_residual, int channels, int pixels, int count) {
    FOR_EACH(group, count / WIDTH) {
        int i = group * WIDTH, channel = i / pixels % channels;
        Lanes<WIDTH> g = load<WIDTH>(grad + i), in, out;
        if (y) {
            out = load<WIDTH>(y + i);
            for (int lane = 0; lane < WIDTH; ++lane) {
                g.at[lane] = out.at[lane] > 0.0f ? g.at[lane] : 0.0f;
            }
        }
        if (by_residual) {
            store<WIDTH>(by_residual + i, g);
        }
        if (by_input) {
            float centre = mean[channel], scale = weight[channel] * inverse[channel];
            in = load<WIDTH>(x + i);
            for (int lane = 0; lane < WIDTH; ++lane) {
                g.at[lane] = (g.at[lane] - shift[channel] - (in.at[lane] - centre) * tilt[channel]) * scale;
            }
            store<WIDTH>(by_input + i, g);
        }
    }
}

// The gradients by input and by residual (null: not wanted), from that of the result.
extern "C" __global__ void batch_norm_gradient(
    const float* grad, const float* x, const float* y, const float* mean, const float* inverse, const float* weight,
    const float* shift, const float* tilt, float* by_input, float* by_residual, int channels, int pixels, int count,
    int wide) {
    if (wide) {
        batch_norm_gradient_of<4>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    } else {
        batch_norm_gradient_of<1>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    }
}
