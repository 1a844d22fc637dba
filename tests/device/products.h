// Products of matrices on the processor, and the roundings of a device's.
#pragma once

#include <cstdint>
#include <cstring>

inline float rounded(float x, bool tf32) {
    if (!tf32 || x != x) return x;
    // To the nearest of 10 bits, ties away from zero.
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x1000u) & ~0x1fffu;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline double rounded(double x, bool) {
    return x;
}

// c[rows, columns] += a[rows, inner] b[inner, columns]
template <class T>
void add_product(int rows, int inner, int columns, const T* __restrict a, const T* __restrict b, T* __restrict c) {
    for (int row = 0; row < rows; ++row) {
        T* __restrict to = c + size_t(row) * columns;
        const T* factors = a + size_t(row) * inner;
        int k = 0;
        // Four at a time, so that a sum is read and written less often.
        for (; k + 4 <= inner; k += 4) {
            const T* from = b + size_t(k) * columns;
            for (int column = 0; column < columns; ++column) {
                to[column] += factors[k] * from[column] + factors[k + 1] * from[column + columns] +
                              factors[k + 2] * from[column + 2 * columns] + factors[k + 3] * from[column + 3 * columns];
            }
        }
        for (; k < inner; ++k) {
            for (int column = 0; column < columns; ++column) {
                to[column] += factors[k] * b[size_t(k) * columns + column];
            }
        }
    }
}
