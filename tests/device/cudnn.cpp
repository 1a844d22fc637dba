// cuDNN's older interface: algorithms by name. Every one asks for working memory, and fills it with NaN; the first of a
// gradient's isn't deterministic, and the last rounds `f32` to 16 bits.
#include "convolutions.h"

using namespace convolutions;

namespace {

struct Found {
    int algorithm, status;
    float time;
    size_t memory;
    int deterministic, math;
    int reserved[3];
};

int find(const Problem& problem, Direction direction, int most, int* count, Found* found) {
    if (problem.check() != SUCCESS) return problem.check();
    *count = std::min(most, 3);
    for (int i = 0; i < *count; ++i) {
        // Best first: the one that nobody has asked for.
        int algorithm = (i + 2) % 3, math = algorithm == 2 ? TENSOR_OP_MATH_ALLOW_CONVERSION : problem.conv.math;
        bool deterministic = direction == FORWARD || algorithm > 0;
        found[i] = {algorithm, SUCCESS, 1.0f, problem.memory(algorithm), deterministic, math, {}};
    }
    return SUCCESS;
}

int size_of(const Problem& problem, int algorithm, size_t* bytes) {
    if (problem.check() != SUCCESS) return problem.check();
    *bytes = problem.memory(algorithm);
    return SUCCESS;
}

int launch_by(Handle* handle, const Problem& problem, Direction direction, int algorithm, const void* alpha, const void* first,
              const void* second, void* workspace, size_t size, const void* beta, void* result) {
    return launch(handle, problem, direction, problem.memory(algorithm), *static_cast<const float*>(alpha), first, second,
                  workspace, size, *static_cast<const float*>(beta), result);
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

int cudnnGetConvolutionForwardAlgorithm_v7(Handle*, Tensor* x, Tensor* w, Convolution* conv, Tensor* y, int most,
                                           int* count, Found* found) {
    return find({*x, *w, *y, *conv}, FORWARD, most, count, found);
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle*, Tensor* w, Tensor* y, Convolution* conv, Tensor* x, int most,
                                                int* count, Found* found) {
    return find({*x, *w, *y, *conv}, INPUT, most, count, found);
}
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle*, Tensor* x, Tensor* y, Convolution* conv, Tensor* w, int most,
                                                  int* count, Found* found) {
    return find({*x, *w, *y, *conv}, WEIGHT, most, count, found);
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
    return launch_by(handle, {*x, *w, *y, *conv}, FORWARD, algorithm, alpha, input, weight, workspace, size, beta, output);
}
int cudnnConvolutionBackwardData(Handle* handle, const void* alpha, Tensor* w, const void* weight, Tensor* y,
                                 const void* output, Convolution* conv, int algorithm, void* workspace, size_t size,
                                 const void* beta, Tensor* x, void* input) {
    return launch_by(handle, {*x, *w, *y, *conv}, INPUT, algorithm, alpha, weight, output, workspace, size, beta, input);
}
int cudnnConvolutionBackwardFilter(Handle* handle, const void* alpha, Tensor* x, const void* input, Tensor* y,
                                   const void* output, Convolution* conv, int algorithm, void* workspace, size_t size,
                                   const void* beta, Tensor* w, void* weight) {
    return launch_by(handle, {*x, *w, *y, *conv}, WEIGHT, algorithm, alpha, input, output, workspace, size, beta, weight);
}

}  // extern "C"
