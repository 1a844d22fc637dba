// Blending images of a batch by masks or constant weights. Sample b is made of partners[n * batch + b] for n < count;
// part (b, n) has the number b * count + n. `per_pixel` says whether a part has a weight for each pixel or one.
//
// `start` [images + 1] and `uses` list the parts that use an image, so that gradients are gathered, not scattered.

extern "C" __global__ void blend_forward(
    const float* images, const u32* partners, const float* weights, float* mixed, int batch, int count, int channels,
    int area, int per_pixel) {
    int size = channels * area;
    FOR_EACH(i, batch * size) {
        int sample = i / size, at = i % size;
        float sum = 0.0f;
        for (int n = 0; n < count; ++n) {
            int part = sample * count + n;
            float weight = per_pixel ? weights[part * area + at % area] : weights[part];
            sum += weight * images[partners[n * batch + sample] * size + at];
        }
        mixed[i] = sum;
    }
}

extern "C" __global__ void blend_backward_images(
    const float* weights, const float* dmixed, float* dimages, const u32* start, const u32* uses, int images,
    int count, int channels, int area, int per_pixel) {
    int size = channels * area;
    FOR_EACH(i, images * size) {
        int image = i / size, at = i % size;
        float sum = 0.0f;
        for (u32 use = start[image]; use < start[image + 1]; ++use) {
            int part = uses[use];
            float weight = per_pixel ? weights[part * area + at % area] : weights[part];
            sum += weight * dmixed[part / count * size + at];
        }
        dimages[i] = sum;
    }
}

extern "C" __global__ void blend_backward_mask(
    const float* images, const u32* partners, const float* dmixed, float* dmask, int batch, int count, int channels,
    int area) {
    int size = channels * area;
    FOR_EACH(i, batch * count * area) {
        int part = i / area, at = i % area, sample = part / count;
        const float* image = images + partners[part % count * batch + sample] * size + at;
        const float* slope = dmixed + sample * size + at;
        float sum = 0.0f;
        for (int channel = 0; channel < channels; ++channel) {
            sum += image[channel * area] * slope[channel * area];
        }
        dmask[i] = sum;
    }
}
