// cuRAND, which candle opens with every device. All draws of the program are the host's: none is made here.
#include "device.h"

extern "C" {

int curandCreateGenerator(void** generator, int) {
    static int the_generator;
    *generator = &the_generator;
    return 0;
}
int curandDestroyGenerator(void*) {
    return 0;
}
int curandSetPseudoRandomGeneratorSeed(void*, unsigned long long) {
    return 0;
}
int curandSetStream(void*, CUstream) {
    return 0;
}
int curandGenerateUniform(void*, float*, size_t) {
    device::fault("a number is drawn on the device");
}
int curandGenerateUniformDouble(void*, double*, size_t) {
    device::fault("a number is drawn on the device");
}
int curandGenerateNormal(void*, float*, size_t, float, float) {
    device::fault("a number is drawn on the device");
}
int curandGenerateNormalDouble(void*, double*, size_t, double, double) {
    device::fault("a number is drawn on the device");
}

}  // extern "C"
