// cuRAND, which candle opens with every device. The program's own draws are the host's; candle's layers draw their weights here.
#include "device.h"

#include <random>

namespace {

enum { SUCCESS = 0, LENGTH_NOT_MULTIPLE = 105 };

struct Generator {
    CUstream stream = nullptr;
    std::mt19937_64 engine;
};

template <class T, class Distribution>
int draw(Generator* generator, T* to, size_t count, Distribution distribution) {
    device::submit(generator->stream, {"draws", {{to, count * sizeof(T), true}}, [=]() mutable {
        for (size_t i = 0; i < count; ++i) to[i] = distribution(generator->engine);
    }});
    return SUCCESS;
}

}  // namespace

extern "C" {

int curandCreateGenerator(Generator** generator, int) {
    *generator = new Generator();
    return SUCCESS;
}
int curandDestroyGenerator(Generator*) {
    return SUCCESS;
}
int curandSetPseudoRandomGeneratorSeed(Generator* generator, unsigned long long seed) {
    generator->engine.seed(seed);
    return SUCCESS;
}
int curandSetStream(Generator* generator, CUstream stream) {
    generator->stream = stream;
    return SUCCESS;
}
int curandGenerateUniform(Generator* generator, float* to, size_t count) {
    return draw(generator, to, count, std::uniform_real_distribution<float>());
}
int curandGenerateUniformDouble(Generator* generator, double* to, size_t count) {
    return draw(generator, to, count, std::uniform_real_distribution<double>());
}
int curandGenerateNormal(Generator* generator, float* to, size_t count, float mean, float deviation) {
    return count % 2 ? LENGTH_NOT_MULTIPLE : draw(generator, to, count, std::normal_distribution<float>(mean, deviation));
}
int curandGenerateNormalDouble(Generator* generator, double* to, size_t count, double mean, double deviation) {
    return count % 2 ? LENGTH_NOT_MULTIPLE : draw(generator, to, count, std::normal_distribution<double>(mean, deviation));
}

}  // extern "C"
