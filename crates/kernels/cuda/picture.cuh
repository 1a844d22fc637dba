// Pictures of bytes as normalised numbers: of each a window, reflected at the edges of the picture, mirrored or not.

struct Normalisation {
    float mean[3];
    float deviation[3];
};

// The index in 0..len that `index` falls on when the range is mirrored at its first and last element.
static __device__ __forceinline__ int reflected(int index, int len) {
    int last = len - 1;
    return last - abs(last - abs(index));
}

// out [count, 3, rows, columns] = (byte / 255 - mean) / deviation. A window is four words: the picture, its top row and left
// column, which may be negative, and whether it is mirrored. A byte of a picture [height, width] lies at
// (row * width + column) * step + channel * plane.
extern "C" __global__ void cut_pictures(
    const unsigned char* pictures, const int* windows, float* out, Normalisation by, int count, int height, int width,
    int step, int plane, int rows, int columns) {
    int area = rows * columns;
    FOR_EACH(i, count * area) {
        int sample = i / area, at = i % area, row = at / columns, column = at % columns;
        const int* window = windows + sample * 4;
        if (window[3]) {
            column = columns - 1 - column;
        }
        int from_row = reflected(row + window[1], height), from_column = reflected(column + window[2], width);
        const unsigned char* picture = pictures + window[0] * (3 * height * width);
        for (int channel = 0; channel < 3; ++channel) {
            float value = picture[(from_row * width + from_column) * step + channel * plane];
            out[(sample * 3 + channel) * area + at] = (value / 255.0f - by.mean[channel]) / by.deviation[channel];
        }
    }
}
