// cuDNN's convolutions, on a processor: maps in any order, `f32` (rounded to TF32 where the program allows it) or `bf16`.
//
// Every algorithm asks for working memory, and fills it with NaN; the first of a gradient's isn't deterministic.
#include "device.h"
#include "products.h"

namespace {

enum { SUCCESS = 0, BAD_PARAM = 3, EXECUTION_FAILED = 8, NOT_SUPPORTED = 9 };
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

struct Found {
    int algorithm, status;
    float time;
    size_t memory;
    int deterministic, math;
    int reserved[3];
};

// What is computed, as the program's own directions.
enum Direction { FORWARD, INPUT, WEIGHT };

struct Problem {
    Tensor input, weight, output;
    Convolution conv;

    int check() const {
        if (conv.mode != 1 || input.kind != weight.kind || input.kind != output.kind) return BAD_PARAM;
        if (input.kind != FLOAT && input.kind != BFLOAT16) return NOT_SUPPORTED;
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

int find(Handle* handle, const Problem& problem, Direction direction, int most, int* count, Found* found, void* out,
         device::Operand workspace) {
    if (problem.check() != SUCCESS) return problem.check();
    if (out) {
        // A trial waits, and leaves what it likes.
        if (device::records(handle->stream)) {
            device::spoil(handle->stream);
            return EXECUTION_FAILED;
        }
        const Tensor& target = direction == FORWARD ? problem.output : direction == INPUT ? problem.input : problem.weight;
        workspace.written = true;
        device::submit(handle->stream, {"trial", {{out, target.bytes(), true}, workspace}, [=] {
            std::memset(out, 0xff, target.bytes());
            std::memset(const_cast<void*>(workspace.start), 0xff, workspace.bytes);
        }});
        device::drain(handle->stream);
    }
    *count = std::min(most, 2);
    for (int algorithm = 0; algorithm < *count; ++algorithm) {
        bool deterministic = direction == FORWARD || algorithm == 1;
        found[algorithm] = {algorithm, SUCCESS, 1.0f, problem.memory(algorithm), deterministic, problem.conv.math, {}};
    }
    return SUCCESS;
}

int size_of(const Problem& problem, int algorithm, size_t* bytes) {
    if (problem.check() != SUCCESS) return problem.check();
    *bytes = problem.memory(algorithm);
    return SUCCESS;
}

int launch(Handle* handle, const Problem& problem, Direction direction, int algorithm, const void* alpha, const void* first,
           const void* second, void* workspace, size_t size, const void* beta, void* result) {
    if (problem.check() != SUCCESS) return problem.check();
    if (size < problem.memory(algorithm)) return BAD_PARAM;
    const Tensor& a = direction == INPUT ? problem.weight : problem.input;
    const Tensor& b = direction == FORWARD ? problem.weight : problem.output;
    const Tensor& target = direction == FORWARD ? problem.output : direction == INPUT ? problem.input : problem.weight;
    float factor = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
    std::vector<device::Operand> operands{
        {result, target.bytes(), true}, {first, a.bytes()}, {second, b.bytes()}, {workspace, size, true}};
    const char* names[] = {"convolution", "convolution's gradient by input", "convolution's gradient by weight"};
    device::submit(handle->stream, {names[direction], operands, [=] {
        std::memset(workspace, 0xff, size);
        problem.run(direction, first, second, result, factor, kept);
    }});
    return SUCCESS;
}

}  // namespace

extern "C" {

int cudnnCreate(Handle** handle) {
    *handle = new Handle();
    return SUCCESS;
}
int cudnnDestroy(Handle* handle) {
    delete handle;
    return SUCCESS;
}
int cudnnSetStream(Handle* handle, CUstream stream) {
    handle->stream = stream;
    return SUCCESS;
}
size_t cudnnGetVersion() {
    return 90000;
}
int cudnnCreateTensorDescriptor(Tensor** tensor) {
    *tensor = new Tensor();
    return SUCCESS;
}
int cudnnDestroyTensorDescriptor(Tensor* tensor) {
    delete tensor;
    return SUCCESS;
}
int cudnnCreateFilterDescriptor(Tensor** tensor) {
    return cudnnCreateTensorDescriptor(tensor);
}
int cudnnDestroyFilterDescriptor(Tensor* tensor) {
    return cudnnDestroyTensorDescriptor(tensor);
}
int cudnnCreateConvolutionDescriptor(Convolution** conv) {
    *conv = new Convolution();
    return SUCCESS;
}
int cudnnDestroyConvolutionDescriptor(Convolution* conv) {
    delete conv;
    return SUCCESS;
}
int cudnnSetTensor4dDescriptor(Tensor* tensor, int format, int kind, int n, int c, int h, int w) {
    if (n < 1 || c < 1 || h < 1 || w < 1 || format > 1) return BAD_PARAM;
    tensor->set(format, kind, n, c, h, w);
    return SUCCESS;
}
int cudnnSetTensor4dDescriptorEx(Tensor* tensor, int kind, int n, int c, int h, int w, int step_n, int step_c, int step_h,
                                 int step_w) {
    if (n < 1 || c < 1 || h < 1 || w < 1) return BAD_PARAM;
    tensor->set(0, kind, n, c, h, w);
    int steps[4] = {step_n, step_c, step_h, step_w};
    std::copy(steps, steps + 4, tensor->step);
    return SUCCESS;
}
int cudnnSetFilter4dDescriptor(Tensor* tensor, int kind, int format, int k, int c, int h, int w) {
    return cudnnSetTensor4dDescriptor(tensor, format, kind, k, c, h, w);
}
int cudnnSetConvolution2dDescriptor(Convolution* conv, int pad_h, int pad_w, int u, int v, int gap_h, int gap_w, int mode,
                                    int kind) {
    if (pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || gap_h < 1 || gap_w < 1 || kind != FLOAT) return BAD_PARAM;
    *conv = {{pad_h, pad_w}, {u, v}, {gap_h, gap_w}, mode};
    return SUCCESS;
}
int cudnnSetConvolutionGroupCount(Convolution* conv, int groups) {
    conv->groups = groups;
    return SUCCESS;
}
int cudnnSetConvolutionMathType(Convolution* conv, int math) {
    conv->math = math;
    return SUCCESS;
}

int cudnnGetConvolutionForwardAlgorithm_v7(Handle* handle, Tensor* x, Tensor* w, Convolution* conv, Tensor* y, int most,
                                           int* count, Found* found) {
    return find(handle, {*x, *w, *y, *conv}, FORWARD, most, count, found, nullptr, {});
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle* handle, Tensor* w, Tensor* y, Convolution* conv, Tensor* x, int most,
                                                int* count, Found* found) {
    return find(handle, {*x, *w, *y, *conv}, INPUT, most, count, found, nullptr, {});
}
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle* handle, Tensor* x, Tensor* y, Convolution* conv, Tensor* w, int most,
                                                  int* count, Found* found) {
    return find(handle, {*x, *w, *y, *conv}, WEIGHT, most, count, found, nullptr, {});
}
int cudnnFindConvolutionForwardAlgorithmEx(Handle* handle, Tensor* x, const void*, Tensor* w, const void*, Convolution* conv,
                                           Tensor* y, void* out, int most, int* count, Found* found, void* workspace,
                                           size_t size) {
    return find(handle, {*x, *w, *y, *conv}, FORWARD, most, count, found, out, {workspace, size});
}
int cudnnFindConvolutionBackwardDataAlgorithmEx(Handle* handle, Tensor* w, const void*, Tensor* y, const void*,
                                                Convolution* conv, Tensor* x, void* out, int most, int* count, Found* found,
                                                void* workspace, size_t size) {
    return find(handle, {*x, *w, *y, *conv}, INPUT, most, count, found, out, {workspace, size});
}
int cudnnFindConvolutionBackwardFilterAlgorithmEx(Handle* handle, Tensor* x, const void*, Tensor* y, const void*,
                                                  Convolution* conv, Tensor* w, void* out, int most, int* count, Found* found,
                                                  void* workspace, size_t size) {
    return find(handle, {*x, *w, *y, *conv}, WEIGHT, most, count, found, out, {workspace, size});
}
int cudnnGetConvolutionForwardWorkspaceSize(Handle*, Tensor* x, Tensor* w, Convolution* conv, Tensor* y, int algorithm,
                                            size_t* bytes) {
    return size_of({*x, *w, *y, *conv}, algorithm, bytes);
}
int cudnnGetConvolutionBackwardDataWorkspaceSize(Handle*, Tensor* w, Tensor* y, Convolution* conv, Tensor* x, int algorithm,
                                                 size_t* bytes) {
    return size_of({*x, *w, *y, *conv}, algorithm, bytes);
}
int cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle*, Tensor* x, Tensor* y, Convolution* conv, Tensor* w, int algorithm,
                                                   size_t* bytes) {
    return size_of({*x, *w, *y, *conv}, algorithm, bytes);
}
int cudnnConvolutionForward(Handle* handle, const void* alpha, Tensor* x, const void* input, Tensor* w, const void* weight,
                            Convolution* conv, int algorithm, void* workspace, size_t size, const void* beta, Tensor* y,
                            void* output) {
    return launch(handle, {*x, *w, *y, *conv}, FORWARD, algorithm, alpha, input, weight, workspace, size, beta, output);
}
int cudnnConvolutionBackwardData(Handle* handle, const void* alpha, Tensor* w, const void* weight, Tensor* y,
                                 const void* output, Convolution* conv, int algorithm, void* workspace, size_t size,
                                 const void* beta, Tensor* x, void* input) {
    return launch(handle, {*x, *w, *y, *conv}, INPUT, algorithm, alpha, weight, output, workspace, size, beta, input);
}
int cudnnConvolutionBackwardFilter(Handle* handle, const void* alpha, Tensor* x, const void* input, Tensor* y,
                                   const void* output, Convolution* conv, int algorithm, void* workspace, size_t size,
                                   const void* beta, Tensor* w, void* weight) {
    return launch(handle, {*x, *w, *y, *conv}, WEIGHT, algorithm, alpha, input, output, workspace, size, beta, weight);
}

}  // extern "C"
