// The cross attention of the mask generator (Eq. 5), around two matrix products that a library computes.
//
// `base` [images, 2 depth + 1, positions] has queries, keys and a value of each image. Part (b, n), with the number
// b * count + n, is the image partners[n * batch + b] with lambdas[n] `shift` added ([2 depth + 1]; null: nothing).

struct Parts {
    const float* base;
    const float* shift;
    const u32* partners;
    const float* lambdas;
    int batch, count, depth, positions, relu;
};

// Row `row` of part (sample, n) at `position`, before the ReLU.
static __device__ __forceinline__ float row_of(const Parts& parts, int sample, int n, int row, int position) {
    int image = parts.partners[n * parts.batch + sample];
    float x = parts.base[(image * (2 * parts.depth + 1) + row) * parts.positions + position];
    return parts.shift ? x + parts.lambdas[n] * parts.shift[row] : x;
}

static __device__ __forceinline__ float active(const Parts& parts, float x) {
    return parts.relu ? positive(x) : x;
}

// The queries of each part, and the sum of the keys of the sample's other parts: [parts, depth, positions] each.
extern "C" __global__ void mask_attention_operands(Parts parts, float* queries, float* others) {
    int size = parts.depth * parts.positions;
    FOR_EACH(i, parts.batch * parts.count * size) {
        int part = i / size, row = i % size / parts.positions, position = i % parts.positions;
        int sample = part / parts.count, own = part % parts.count;
        float sum = 0.0f;
        for (int n = 0; n < parts.count; ++n) {
            if (n != own) {
                sum += active(parts, row_of(parts, sample, n, parts.depth + row, position));
            }
        }
        others[i] = sum;
        queries[i] = active(parts, row_of(parts, sample, own, row, position));
    }
}

// products [parts, queries, keys] become their softmax over keys (times `inverse` first), in place; planes [parts,
// queries] are the values that it weighs. A warp for each query.
extern "C" __global__ void mask_attention_planes(Parts parts, float* products, float* planes, float inverse) {
    int query = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (query >= parts.batch * parts.count * parts.positions) {
        return;
    }
    int part = query / parts.positions, sample = part / parts.count, n = part % parts.count;
    float* line = products + query * parts.positions;
    float top = -INFINITY, total = 0.0f, weighed = 0.0f;
    for (int key = lane; key < parts.positions; key += WARP) {
        top = fmaxf(top, line[key]);
    }
    top = warp_max(top);
    for (int key = lane; key < parts.positions; key += WARP) {
        float weight = expf((line[key] - top) * inverse);
        line[key] = weight;
        total += weight;
        weighed += weight * row_of(parts, sample, n, 2 * parts.depth, key);
    }
    total = warp_sum(total);
    weighed = warp_sum(weighed);
    for (int key = lane; key < parts.positions; key += WARP) {
        line[key] /= total;
    }
    if (lane == 0) {
        planes[query] = weighed / total;
    }
}

// From the attention and the gradients of the planes: those of the products [parts, queries, keys] and of each part's
// values [parts, keys].
extern "C" __global__ void mask_attention_slopes(
    Parts parts, const float* attention, const float* planes, const float* dplanes, float* dproducts, float* dvalues,
    float inverse) {
    FOR_EACH(i, parts.batch * parts.count * parts.positions) {
        int part = i / parts.positions, key = i % parts.positions;
        float value = row_of(parts, part / parts.count, part % parts.count, 2 * parts.depth, key), sum = 0.0f;
        for (int query = 0; query < parts.positions; ++query) {
            int plane = part * parts.positions + query, at = plane * parts.positions + key;
            float slope = attention[at] * dplanes[plane];
            sum += slope;
            dproducts[at] = slope * (value - planes[plane]) * inverse;
        }
        dvalues[i] = sum;
    }
}

// The gradient of row `row` of part (sample, n) at `position`, from those of the operands and values.
static __device__ __forceinline__ float slope_of(
    const Parts& parts, const float* dqueries, const float* dothers, const float* dvalues, int sample, int n, int row,
    int position) {
    int part = sample * parts.count + n, depth = parts.depth, positions = parts.positions;
    if (row == 2 * depth) {
        return dvalues[part * positions + position];
    }
    if (parts.relu && !(row_of(parts, sample, n, row, position) > 0.0f)) {
        return 0.0f;
    }
    if (row < depth) {
        return dqueries[(part * depth + row) * positions + position];
    }
    float sum = 0.0f;
    for (int other = 0; other < parts.count; ++other) {
        if (other != n) {
            sum += dothers[((sample * parts.count + other) * depth + row - depth) * positions + position];
        }
    }
    return sum;
}

// The gradient of the base: for each image the sum over the parts that use it (`start`, `uses`: see blend).
extern "C" __global__ void mask_attention_base(
    Parts parts, const float* dqueries, const float* dothers, const float* dvalues, const u32* start, const u32* uses,
    float* dbase, int images) {
    int rows = 2 * parts.depth + 1, size = rows * parts.positions;
    FOR_EACH(i, images * size) {
        int image = i / size, row = i % size / parts.positions, position = i % parts.positions;
        float sum = 0.0f;
        for (u32 use = start[image]; use < start[image + 1]; ++use) {
            int part = uses[use];
            sum += slope_of(
                parts, dqueries, dothers, dvalues, part / parts.count, part % parts.count, row, position);
        }
        dbase[i] = sum;
    }
}

// The gradient of the shift: for each row the sum over all parts and positions, times the part's lambda. A block a row.
extern "C" __global__ void mask_attention_shift(
    Parts parts, const float* dqueries, const float* dothers, const float* dvalues, float* dshift) {
    int row = blockIdx.x;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < parts.batch * parts.count * parts.positions; i += blockDim.x) {
        int part = i / parts.positions, n = part % parts.count;
        sum += parts.lambdas[n]
            * slope_of(parts, dqueries, dothers, dvalues, part / parts.count, n, row, i % parts.positions);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        dshift[row] = sum;
    }
}
