// What candle's kernels expect of CUDA besides what `emulator.h` gives. Their text takes the ways that it takes on a device of
// compute capability 9.0.
#pragma once

#include <cmath>
#include <cstdint>
#include <cuda/std/limits>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#define EMULATOR_PLAIN_SHARED
#include "emulator.h"

#define __CUDA_ARCH__ 900
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

using std::isnan;
using std::signbit;

template <class To, class From>
To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x) {
    return bits_as<int>(x);
}
inline float __int_as_float(int x) {
    return bits_as<float>(x);
}
inline long long __double_as_longlong(double x) {
    return bits_as<long long>(x);
}
inline double __longlong_as_double(long long x) {
    return bits_as<double>(x);
}
inline float rsqrtf(float x) {
    return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
    return 1.0 / std::sqrt(x);
}
inline float normcdff(float x) {
    return 0.5f * std::erfc(-x * 0.70710678f);
}
inline double normcdf(double x) {
    return 0.5 * std::erfc(-x * 0.7071067811865476);
}
#define OF_16_BITS(name, of_float) \
    inline __half name(__half x) { \
        return __half(of_float(float(x))); \
    } \
    inline __nv_bfloat16 name(__nv_bfloat16 x) { \
        return __nv_bfloat16(of_float(float(x))); \
    }
OF_16_BITS(hsqrt, std::sqrt)
OF_16_BITS(hcos, std::cos)
OF_16_BITS(hsin, std::sin)
OF_16_BITS(hlog, std::log)
OF_16_BITS(hexp, std::exp)

template <class T, class U>
T atomicCAS(T* at, T compare, U value) {
    T old = *at;
    if (old == compare) {
        *at = (T)value;
    }
    return old;
}
template <class T, class U>
T atomicMax(T* at, U value) {
    T old = *at;
    *at = std::max(old, (T)value);
    return old;
}
template <class T, class U>
T atomicMin(T* at, U value) {
    T old = *at;
    *at = std::min(old, (T)value);
    return old;
}
