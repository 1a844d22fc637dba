// The tokens of x [batch, tokens, width] in another order: token i of y is that at source[i].
extern "C" __global__ void reorder(const float* x, const u32* source, float* y, int batch, int tokens, int width) {
    FOR_EACH(i, batch * tokens * width) {
        int place = i / width, token = place % tokens;
        y[i] = x[(place - token + (int)source[token]) * width + i % width];
    }
}
