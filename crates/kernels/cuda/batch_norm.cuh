// Batch normalisation, fused with a ReLU, or a shortcut and a ReLU: of floats [batch, channels, pixels], or of bf16 with the
// channels of a pixel side by side, [batch, channels] with a row for each pixel.
//
// What is summed is cut into slices, of whole pictures or of rows, so that few channels still fill the device. Slices are
// merged in order and in double precision, around the mean of each: E[x^2] - E[x]^2 would lose all digits when the mean
// is large.

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

// The tile of a block over rows: `across` neighbouring groups of channels, a power of two, and as many rows as its other
// threads take.
struct Tile {
    int column, line, lines;
    __device__ Tile(int across, int width)
        : column((blockIdx.x * across + threadIdx.x % across) * width),
          line(threadIdx.x / across),
          lines(blockDim.x / across) {}
};

// The sum over the lines of a tile, known to all of them. Every thread of the block has to call it.
template <int WIDTH>
static __device__ void over_lines(Lanes<WIDTH>& value, int across, float* parts) {
    float* own = parts + threadIdx.x * WIDTH;
    for (int lane = 0; lane < WIDTH; ++lane) {
        own[lane] = value.at[lane];
    }
    __syncthreads();
    for (int distance = blockDim.x / 2; distance >= across; distance /= 2) {
        if (threadIdx.x < distance) {
            for (int lane = 0; lane < WIDTH; ++lane) {
                own[lane] += own[distance * WIDTH + lane];
            }
        }
        __syncthreads();
    }
    for (int lane = 0; lane < WIDTH; ++lane) {
        value.at[lane] = parts[threadIdx.x % across * WIDTH + lane];
    }
    // The parts may be written again at once.
    __syncthreads();
}

template <int WIDTH>
static __device__ void batch_norm_rows_partial_of(
    const bf16* x, float* means, float* squares, int rows, int channels, int across, int per_slice, float* parts) {
    Tile tile(across, WIDTH);
    int first = blockIdx.y * per_slice, end = min(first + per_slice, rows);
    bool within = tile.column < channels;
    Lanes<WIDTH> mean = {}, square = {};
    for (int row = first + tile.line; within && row < end; row += tile.lines) {
        Lanes<WIDTH> in = load<WIDTH>(x + row * channels + tile.column);
        for (int lane = 0; lane < WIDTH; ++lane) {
            mean.at[lane] += in.at[lane];
        }
    }
    over_lines<WIDTH>(mean, across, parts);
    for (int lane = 0; lane < WIDTH; ++lane) {
        mean.at[lane] /= end - first;
    }
    for (int row = first + tile.line; within && row < end; row += tile.lines) {
        Lanes<WIDTH> in = load<WIDTH>(x + row * channels + tile.column);
        for (int lane = 0; lane < WIDTH; ++lane) {
            square.at[lane] += (in.at[lane] - mean.at[lane]) * (in.at[lane] - mean.at[lane]);
        }
    }
    over_lines<WIDTH>(square, across, parts);
    for (int lane = 0; within && tile.line == 0 && lane < WIDTH; ++lane) {
        means[blockIdx.y * channels + tile.column + lane] = mean.at[lane];
        squares[blockIdx.y * channels + tile.column + lane] = square.at[lane];
    }
}

// As batch_norm_partial, over rows. Grid: tiles x slices.
extern "C" __global__ void batch_norm_partial_bf16(
    const bf16* x, float* means, float* squares, int rows, int channels, int across, int per_slice, int wide) {
    __shared__ float parts[TILE_THREADS * 8];
    if (wide) {
        batch_norm_rows_partial_of<8>(x, means, squares, rows, channels, across, per_slice, parts);
    } else {
        batch_norm_rows_partial_of<1>(x, means, squares, rows, channels, across, per_slice, parts);
    }
}

// Mean, inverse deviation (biased variance) and unbiased variance of each channel, from those of its slices: a warp each.
extern "C" __global__ void batch_norm_finish(
    const float* means, const float* squares, float* mean, float* inverse, float* unbiased, int batch, int channels,
    int pixels, int pictures, int slices, float eps) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (channel >= channels) {
        return;
    }
    double count = (double)batch * pixels, total = 0.0, spread = 0.0;
    for (int slice = lane; slice < slices; slice += WARP) {
        double part = (double)(min((slice + 1) * pictures, batch) - slice * pictures) * pixels;
        total += part * means[slice * channels + channel];
    }
    double centre = warp_sum(total) / count;
    for (int slice = lane; slice < slices; slice += WARP) {
        double part = (double)(min((slice + 1) * pictures, batch) - slice * pictures) * pixels;
        double off = means[slice * channels + channel] - centre;
        spread += squares[slice * channels + channel] + part * off * off;
    }
    spread = warp_sum(spread);
    if (lane == 0) {
        mean[channel] = (float)centre;
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
        Lanes<WIDTH> centre = of_channels<T, WIDTH>(mean, first), slope = of_channels<T, WIDTH>(inverse, first);
        Lanes<WIDTH> scale = of_channels<T, WIDTH>(weight, first), shift = of_channels<T, WIDTH>(bias, first);
        for (int lane = 0; lane < WIDTH; ++lane) {
            float value = (lanes.at[lane] - centre.at[lane]) * (slope.at[lane] * scale.at[lane]) + shift.at[lane];
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

template <int WIDTH>
static __device__ void batch_norm_rows_sums_of(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, float* totals, float* aligned, int rows,
    int channels, int across, int per_slice, float* parts) {
    Tile tile(across, WIDTH);
    int end = min((int)(blockIdx.y + 1) * per_slice, rows);
    bool within = tile.column < channels;
    Lanes<WIDTH> total = {}, product = {}, centre = {};
    if (within) {
        centre = load<WIDTH>(mean + tile.column);
    }
    for (int row = blockIdx.y * per_slice + tile.line; within && row < end; row += tile.lines) {
        int at = row * channels + tile.column;
        Lanes<WIDTH> g = load<WIDTH>(grad + at), in = load<WIDTH>(x + at), out;
        if (y) {
            out = load<WIDTH>(y + at);
        }
        for (int lane = 0; lane < WIDTH; ++lane) {
            float passed = y && !(out.at[lane] > 0.0f) ? 0.0f : g.at[lane];
            total.at[lane] += passed;
            product.at[lane] += passed * (in.at[lane] - centre.at[lane]);
        }
    }
    over_lines<WIDTH>(total, across, parts);
    over_lines<WIDTH>(product, across, parts);
    for (int lane = 0; within && tile.line == 0 && lane < WIDTH; ++lane) {
        totals[blockIdx.y * channels + tile.column + lane] = total.at[lane];
        aligned[blockIdx.y * channels + tile.column + lane] = product.at[lane];
    }
}

// As batch_norm_sums, over rows. Grid: tiles x slices.
extern "C" __global__ void batch_norm_sums_bf16(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, float* totals, float* aligned, int rows,
    int channels, int across, int per_slice, int wide) {
    __shared__ float parts[TILE_THREADS * 8];
    if (wide) {
        batch_norm_rows_sums_of<8>(grad, x, y, mean, totals, aligned, rows, channels, across, per_slice, parts);
    } else {
        batch_norm_rows_sums_of<1>(grad, x, y, mean, totals, aligned, rows, channels, across, per_slice, parts);
    }
}

// The gradients by weight and bias, and what batch_norm_gradient takes off: shift and tilt, 0 for given statistics. A warp
// for each channel.
extern "C" __global__ void batch_norm_sums_finish(
    const float* totals, const float* aligned, const float* inverse, float* by_weight, float* by_bias, float* shift,
    float* tilt, int batch, int channels, int pixels, int slices, int training) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (channel >= channels) {
        return;
    }
    double total = 0.0, product = 0.0, count = (double)batch * pixels, scale = inverse[channel];
    for (int slice = lane; slice < slices; slice += WARP) {
        total += totals[slice * channels + channel];
        product += aligned[slice * channels + channel];
    }
    total = warp_sum(total);
    product = warp_sum(product);
    if (lane == 0) {
        by_weight[channel] = (float)(product * scale);
        by_bias[channel] = (float)total;
        shift[channel] = training ? (float)(total / count) : 0.0f;
        tilt[channel] = training ? (float)(product / count * scale * scale) : 0.0f;
    }
}

template <class T, int WIDTH>
static __device__ void batch_norm_gradient_of(
    const T* grad, const T* x, const T* y, const float* mean, const float* inverse, const float* weight,
    const float* shift, const float* tilt, T* by_input, T* by_residual, int channels, int pixels, int count) {
    FOR_EACH(group, count / WIDTH) {
        int i = group * WIDTH, first = i / pixels % channels;
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
            in = load<WIDTH>(x + i);
            Lanes<WIDTH> centre = of_channels<T, WIDTH>(mean, first), slope = of_channels<T, WIDTH>(inverse, first);
            Lanes<WIDTH> scale = of_channels<T, WIDTH>(weight, first), moved = of_channels<T, WIDTH>(shift, first);
            Lanes<WIDTH> tilted = of_channels<T, WIDTH>(tilt, first);
            for (int lane = 0; lane < WIDTH; ++lane) {
                float off = in.at[lane] - centre.at[lane];
                g.at[lane] = (g.at[lane] - moved.at[lane] - off * tilted.at[lane]) * (scale.at[lane] * slope.at[lane]);
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
        batch_norm_gradient_of<float, 4>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    } else {
        batch_norm_gradient_of<float, 1>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    }
}

extern "C" __global__ void batch_norm_gradient_bf16(
    const bf16* grad, const bf16* x, const bf16* y, const float* mean, const float* inverse, const float* weight,
    const float* shift, const float* tilt, bf16* by_input, bf16* by_residual, int channels, int pixels, int count,
    int wide) {
    if (wide) {
        batch_norm_gradient_of<bf16, 8>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    } else {
        batch_norm_gradient_of<bf16, 1>(
            grad, x, y, mean, inverse, weight, shift, tilt, by_input, by_residual, channels, pixels, count);
    }
}
