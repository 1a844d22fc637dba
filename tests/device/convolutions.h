// Convolutions and their gradients on a processor, for cuDNN's two interfaces: maps in any order, `f32` (rounded to TF32 where the
// program allows it) or `bf16`.
#pragma once

#include "device.h"
#include "products.h"

namespace convolutions {

enum { SUCCESS = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
enum { FLOAT = 0, BFLOAT16 = 9 };
enum { DEFAULT_MATH = 0, TENSOR_OP_MATH = 1, TENSOR_OP_MATH_ALLOW_CONVERSION = 2, FMA_MATH = 3 };

struct Handle {
    CUstream stream = nullptr;
};

// Maps, or a weight: sizes and steps of batch (filters), channels, rows, columns.
struct Tensor {
    int kind = -1;
    int size[4], step[4];

    void set(int format, int kind, int n, int c, int h, int w) {
        this->kind = kind;
        int sizes[4] = {n, c, h, w};
        int planes[4] = {c * h * w, h * w, w, 1}, rows[4] = {h * w * c, 1, w * c, c};
        for (int i = 0; i < 4; ++i) {
            size[i] = sizes[i];
            step[i] = format == 0 ? planes[i] : rows[i];
        }
    }
    size_t count() const { return size_t(size[0]) * size[1] * size[2] * size[3]; }
    size_t bytes() const {
        size_t last = 0;
        for (int i = 0; i < 4; ++i) last += size_t(size[i] - 1) * step[i];
        return (last + 1) * (kind == FLOAT ? 4 : 2);
    }
    // Calls with the position here and in planes.
    template <class F>
    void each(F f) const {
        size_t plain = 0;
        for (int n = 0; n < size[0]; ++n)
            for (int c = 0; c < size[1]; ++c)
                for (int h = 0; h < size[2]; ++h)
                    for (int w = 0; w < size[3]; ++w)
                        f(size_t(n) * step[0] + size_t(c) * step[1] + size_t(h) * step[2] + size_t(w) * step[3], plain++);
    }
    std::vector<float> read(const void* from, bool tf32) const {
        std::vector<float> values(count());
        each([&](size_t at, size_t plain) {
            if (kind == FLOAT) {
                values[plain] = rounded(static_cast<const float*>(from)[at], tf32);
            } else {
                uint32_t bits = uint32_t(static_cast<const uint16_t*>(from)[at]) << 16;
                std::memcpy(&values[plain], &bits, sizeof bits);
            }
        });
        return values;
    }
    void write(void* to, const std::vector<float>& values) const {
        each([&](size_t at, size_t plain) {
            if (kind == FLOAT) {
                static_cast<float*>(to)[at] = values[plain];
            } else {
                uint32_t bits;
                std::memcpy(&bits, &values[plain], sizeof bits);
                bool nan = values[plain] != values[plain];
                static_cast<uint16_t*>(to)[at] = nan ? 0x7fc0 : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
            }
        });
    }
};

struct Convolution {
    int pad[2], stride[2], gap[2], mode = -1, groups = 1, math = DEFAULT_MATH;
};

// What is computed, as the program's own directions.
enum Direction { FORWARD, INPUT, WEIGHT };

struct Problem {
    Tensor input, weight, output;
    Convolution conv;

    int check() const {
        if (conv.mode != 1 || input.kind != weight.kind || input.kind != output.kind) return BAD_PARAM;
        if (input.kind != FLOAT && input.kind != BFLOAT16) return NOT_SUPPORTED;
        if (input.kind == FLOAT && conv.math == TENSOR_OP_MATH_ALLOW_CONVERSION) device::fault("f32 is rounded to 16 bits");
        // Tensor cores take bf16 as it is; FMA wouldn't.
        if (input.kind == BFLOAT16 && conv.math == FMA_MATH) return NOT_SUPPORTED;
        bool sizes = input.size[0] == output.size[0] && input.size[1] == weight.size[1] * conv.groups &&
                     output.size[1] == weight.size[0] && weight.size[0] % conv.groups == 0;
        for (int i = 0; i < 2; ++i) {
            int window = (weight.size[2 + i] - 1) * conv.gap[i] + 1;
            sizes = sizes && output.size[2 + i] == (input.size[2 + i] + 2 * conv.pad[i] - window) / conv.stride[i] + 1;
        }
        return sizes ? SUCCESS : BAD_PARAM;
    }
    // More for larger problems, so that the buffer has to grow.
    size_t memory(int algorithm) const { return 256 + output.count() % 100000 * (algorithm + 1); }

    // Taps of a group, by places of the output: the pixels that they see. Calls with the tap's row, the place and the pixel.
    template <class F>
    void see(F f) const {
        int channels = weight.size[1], place = 0;
        for (int c = 0, row = 0; c < channels; ++c)
            for (int i = 0; i < weight.size[2]; ++i)
                for (int j = 0; j < weight.size[3]; ++j, ++row, place = 0)
                    for (int y = 0; y < output.size[2]; ++y) {
                        int h = y * conv.stride[0] - conv.pad[0] + i * conv.gap[0];
                        if (h < 0 || h >= input.size[2]) {
                            place += output.size[3];
                            continue;
                        }
                        for (int x = 0; x < output.size[3]; ++x, ++place) {
                            int w = x * conv.stride[1] - conv.pad[1] + j * conv.gap[1];
                            if (w >= 0 && w < input.size[3]) f(row, place, (c * input.size[2] + h) * input.size[3] + w);
                        }
                    }
    }

    void run(Direction direction, const void* first, const void* second, void* result, float alpha, float beta) const {
        bool tf32 = conv.math != FMA_MATH;
        int filters = weight.size[0] / conv.groups, taps = weight.size[1] * weight.size[2] * weight.size[3];
        int places = output.size[2] * output.size[3], pixels = weight.size[1] * input.size[2] * input.size[3];
        const Tensor& target = direction == FORWARD ? output : direction == INPUT ? input : weight;
        std::vector<float> a = (direction == INPUT ? weight : input).read(first, tf32);
        std::vector<float> b = (direction == FORWARD ? weight : output).read(second, tf32);
        std::vector<float> sums(target.count()), seen(size_t(taps) * places), turned(size_t(taps) * std::max(places, filters));
        for (int n = 0; n < input.size[0]; ++n)
            for (int g = 0; g < conv.groups; ++g) {
                size_t x = (size_t(n) * conv.groups + g) * pixels, w = size_t(g) * filters * taps;
                size_t y = (size_t(n) * conv.groups + g) * filters * places;
                std::fill(seen.begin(), seen.end(), 0.0f);
                if (direction == FORWARD) {
                    see([&](int row, int place, int pixel) { seen[size_t(row) * places + place] = a[x + pixel]; });
                    add_product(filters, taps, places, &b[w], seen.data(), &sums[y]);
                } else if (direction == INPUT) {
                    for (int f = 0; f < filters; ++f)
                        for (int t = 0; t < taps; ++t) turned[size_t(t) * filters + f] = a[w + size_t(f) * taps + t];
                    add_product(taps, filters, places, turned.data(), &b[y], seen.data());
                    see([&](int row, int place, int pixel) { sums[x + pixel] += seen[size_t(row) * places + place]; });
                } else {
                    std::fill(turned.begin(), turned.end(), 0.0f);
                    see([&](int row, int place, int pixel) { turned[size_t(place) * taps + row] = a[x + pixel]; });
                    add_product(filters, places, taps, &b[y], turned.data(), &sums[w]);
                }
            }
        std::vector<float> old = beta == 0.0f ? std::vector<float>() : target.read(result, false);
        for (size_t i = 0; i < sums.size(); ++i) sums[i] = alpha * sums[i] + (beta == 0.0f ? 0.0f : beta * old[i]);
        target.write(result, sums);
    }
};

// Submits a convolution that fills its working memory with NaN, which has to be as large as it needs.
inline int launch(Handle* handle, const Problem& problem, Direction direction, size_t needed, float alpha, const void* first,
                  const void* second, void* workspace, size_t size, float beta, void* result, const std::string& how = "") {
    if (problem.check() != SUCCESS) return problem.check();
    if (size < needed) return BAD_PARAM;
    const Tensor& a = direction == INPUT ? problem.weight : problem.input;
    const Tensor& b = direction == FORWARD ? problem.weight : problem.output;
    const Tensor& target = direction == FORWARD ? problem.output : direction == INPUT ? problem.input : problem.weight;
    std::vector<device::Operand> operands{
        {result, target.bytes(), true}, {first, a.bytes()}, {second, b.bytes()}, {workspace, needed, true}};
    const char* names[] = {"convolution", "convolution's gradient by input", "convolution's gradient by weight"};
    device::submit(handle->stream, {names[direction] + how, operands, [=] {
        std::memset(workspace, 0xff, needed);
        problem.run(direction, first, second, result, alpha, beta);
    }});
    return SUCCESS;
}

}  // namespace convolutions
