// cuBLAS's products, on a processor. Factors are rounded to TF32 where the program allows it.
#include "device.h"
#include "products.h"

namespace {

struct Handle {
    CUstream stream = nullptr;
};

enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1 };
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };

// A matrix of columns, or of rows where it is transposed.
template <class T>
struct Matrix {
    const T* start;
    bool transposed;
    int step;
    long long stride;

    size_t elements(int rows, int columns, int batch) const {
        if (transposed) std::swap(rows, columns);
        return size_t(step) * (columns - 1) + rows + size_t(stride) * (batch - 1);
    }
    device::Operand operand(int rows, int columns, int batch) const { return {start, elements(rows, columns, batch) * sizeof(T)}; }
    T at(int row, int column) const { return transposed ? start[column + size_t(row) * step] : start[row + size_t(column) * step]; }
};

template <class T>
int product(Handle* handle, int m, int n, int k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c, int ldc, long long stride,
            int batch, bool tf32) {
    if (m < 0 || n < 0 || k < 0 || batch < 0) return INVALID_VALUE;
    if (a.step < (a.transposed ? k : m) || b.step < (b.transposed ? n : k) || ldc < m) return INVALID_VALUE;
    if (!m || !n || !batch) return SUCCESS;
    if (!k) return NOT_SUPPORTED;
    device::Operand out = Matrix<T>{c, false, ldc, stride}.operand(m, n, batch);
    out.written = true;
    auto run = [=] {
        std::vector<T> left(size_t(n) * k), right(size_t(k) * m), result(size_t(n) * m);
        for (int i = 0; i < batch; ++i) {
            Matrix<T> first = a, second = b;
            first.start += i * a.stride;
            second.start += i * b.stride;
            // Rows of the result here are its columns there.
            for (int row = 0; row < n; ++row)
                for (int inner = 0; inner < k; ++inner) left[size_t(row) * k + inner] = rounded(second.at(inner, row), tf32);
            for (int inner = 0; inner < k; ++inner)
                for (int column = 0; column < m; ++column) right[size_t(inner) * m + column] = rounded(first.at(column, inner), tf32);
            std::fill(result.begin(), result.end(), T(0));
            add_product(n, k, m, left.data(), right.data(), result.data());
            for (int row = 0; row < n; ++row) {
                T* to = c + i * stride + size_t(row) * ldc;
                for (int column = 0; column < m; ++column) {
                    T value = alpha * result[size_t(row) * m + column];
                    to[column] = beta == T(0) ? value : value + beta * to[column];
                }
            }
        }
    };
    device::submit(handle->stream, {"product", {out, a.operand(m, k, batch), b.operand(k, n, batch)}, run});
    return SUCCESS;
}

}  // namespace

extern "C" {

int cublasCreate_v2(Handle** handle) {
    *handle = new Handle();
    return SUCCESS;
}
int cublasDestroy_v2(Handle* handle) {
    delete handle;
    return SUCCESS;
}
int cublasSetStream_v2(Handle* handle, CUstream stream) {
    handle->stream = stream;
    return SUCCESS;
}
int cublasGemmStridedBatchedEx(Handle* handle, int transa, int transb, int m, int n, int k, const void* alpha, const void* a,
                               int a_kind, int lda, long long stride_a, const void* b, int b_kind, int ldb,
                               long long stride_b, const void* beta, void* c, int c_kind, int ldc, long long stride_c,
                               int batch, int compute, int) {
    if (a_kind != R_32F || b_kind != R_32F || c_kind != R_32F) return NOT_SUPPORTED;
    if (compute != COMPUTE_32F && compute != COMPUTE_32F_FAST_TF32) return NOT_SUPPORTED;
    Matrix<float> first{static_cast<const float*>(a), transa != 0, lda, stride_a};
    Matrix<float> second{static_cast<const float*>(b), transb != 0, ldb, stride_b};
    return product(handle, m, n, k, *static_cast<const float*>(alpha), first, second, *static_cast<const float*>(beta),
                   static_cast<float*>(c), ldc, stride_c, batch, compute == COMPUTE_32F_FAST_TF32);
}
int cublasDgemmStridedBatched(Handle* handle, int transa, int transb, int m, int n, int k, const double* alpha,
                              const double* a, int lda, long long stride_a, const double* b, int ldb, long long stride_b,
                              const double* beta, double* c, int ldc, long long stride_c, int batch) {
    Matrix<double> first{a, transa != 0, lda, stride_a}, second{b, transb != 0, ldb, stride_b};
    return product(handle, m, n, k, *alpha, first, second, *beta, c, ldc, stride_c, batch, false);
}

}  // extern "C"
