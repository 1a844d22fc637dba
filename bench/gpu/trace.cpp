// What a CUDA program runs on the device, and when: a library that the driver loads into the program by itself.
//
//     CUDA_INJECTION64_PATH=libtrace.so TRACE_FILE=trace.tsv program …
//
// A line for each kernel, copy and filling: start and end in nanoseconds, bytes (of copies and fillings), name. Kernels of a graph
// are lines of their own. bench/gpu/run compiles this where it runs, against CUPTI's headers.
#include <cupti.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

namespace {

constexpr size_t BUFFER = 8 << 20;
FILE* file = nullptr;

void CUPTIAPI give(uint8_t** buffer, size_t* size, size_t* most) {
    *buffer = static_cast<uint8_t*>(aligned_alloc(8, BUFFER));
    *size = *buffer ? BUFFER : 0;
    *most = 0;
}

void line(uint64_t start, uint64_t end, uint64_t bytes, const char* name) {
    fprintf(file, "%llu\t%llu\t%llu\t%s\n", (unsigned long long)start, (unsigned long long)end, (unsigned long long)bytes, name);
}

// The fields that are read lie at the same places in the records of all versions since CUDA 11.
void CUPTIAPI take(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
            auto kernel = reinterpret_cast<CUpti_ActivityKernel9*>(record);
            line(kernel->start, kernel->end, 0, kernel->name);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
            auto copy = reinterpret_cast<CUpti_ActivityMemcpy5*>(record);
            bool sent = copy->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
            line(copy->start, copy->end, copy->bytes, sent ? "copy from the host" : "copy");
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
            auto filling = reinterpret_cast<CUpti_ActivityMemset4*>(record);
            line(filling->start, filling->end, filling->bytes, "filling");
        }
    }
    free(buffer);
}

void finish() {
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    fflush(file);
}

}  // namespace

// The driver calls this when the program initialises it; 1 is success.
extern "C" int InitializeInjection() {
    const char* path = getenv("TRACE_FILE");
    file = path ? fopen(path, "w") : nullptr;
    if (!file) return 0;
    CUptiResult result = cuptiActivityRegisterCallbacks(give, take);
    for (auto kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET}) {
        if (result == CUPTI_SUCCESS) result = cuptiActivityEnable(kind);
    }
    if (result != CUPTI_SUCCESS) {
        const char* text = "?";
        cuptiGetResultString(result, &text);
        fprintf(stderr, "trace: %s\n", text);
        return 0;
    }
    atexit(finish);
    return 1;
}
