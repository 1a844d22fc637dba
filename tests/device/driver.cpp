// The CUDA driver's functions that the program calls, on a processor: README.md says what they look for.
//
// What is submitted to a stream runs when somebody waits for the stream, or when much has gathered, so that what the host
// gives up or changes too early is seen. All calls are made one after the other, whatever thread they come from.
#include "device.h"

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels.h"
#include "memory.h"

namespace {

using namespace device;

std::recursive_mutex lock;
#define ONE_AT_A_TIME std::lock_guard<std::recursive_mutex> guard(lock)

// What a stream gathers before it runs though nobody waits.
constexpr size_t MOST_WAITING = 2000;

std::string running = "nothing";

struct sigaction before;

void on_fault(int signal, siginfo_t* info, void*) {
    auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    if (of_device(address)) device::fault("access to " + described(address));
    // Somebody else's.
    sigaction(signal, &before, nullptr);
}

// ---- host memory that the device reads by itself

std::map<uintptr_t, size_t> pinned;

bool is_pinned(const void* start) {
    auto next = pinned.upper_bound(reinterpret_cast<uintptr_t>(start));
    if (next == pinned.begin()) return false;
    --next;
    return reinterpret_cast<uintptr_t>(start) < next->first + next->second;
}

}  // namespace

// ---- streams and graphs

struct CUgraph_st {
    std::deque<Work> nodes;
    // Addresses that its nodes allocate, and those of them that they free.
    std::set<uintptr_t> memory, freed;
};

struct CUgraphExec_st {
    CUgraph_st graph;
    bool frees_on_launch;
};

struct CUstream_st {
    std::deque<Work> waiting;
    // How much was ever submitted; all of it but what waits has run.
    size_t submitted = 0;
    std::unique_ptr<CUgraph_st> recorded;
    bool spoilt = false;
};

// A place in a stream: behind so much of what was submitted. In a recording it is nowhere.
struct CUevent_st {
    CUstream stream = nullptr;
    size_t behind = 0;
    bool recorded = false;
    double clock = 0;
};
struct CUctx_st {};
struct CUmod_st {
    // Its PTX, where that is what was loaded, and kernels that were found in it.
    std::string text;
    std::set<std::string> found;
};
struct CUfunc_st {
    const emulator::Kernel* kernel;
    size_t launches = 0;
};
struct CUmemPoolHandle_st {};

namespace {

void drain(CUstream stream);
void drain(CUstream stream, size_t end);

// What all work that was submitted takes together, in milliseconds.
double clock_ms = 0;

std::set<CUstream> streams;
thread_local CUcontext current = nullptr;
CUctx_st the_context;
CUmemPoolHandle_st the_pool;

// The stream that a call means. The default one waits for all others; that they wait for it isn't emulated.
CUstream known(CUstream stream) {
    static CUstream_st the_default;
    if (!stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD || stream == &the_default) {
        streams.insert(&the_default);
        for (CUstream other : streams) {
            if (other != &the_default) drain(other);
        }
        return &the_default;
    }
    if (!streams.count(stream)) fault("a stream that isn't there");
    return stream;
}

// How often each kernel and call has run, to a file that the program's environment names.
struct Counts {
    std::map<std::string, size_t> of;
    ~Counts() {
        const char* path = getenv("EMULATED_COUNTS");
        FILE* file = path ? fopen(path, "w") : nullptr;
        if (!file) return;
        for (const auto& [name, count] : of) {
            fprintf(file, "%zu\t%s\n", count, name.c_str());
        }
        fclose(file);
    }
} counts;

void run(const Work& work, bool recorded = false) {
    running = work.name;
    ++counts.of[recorded ? "recorded " + work.name : work.name];
    for (const device::Operand& operand : work.operands) {
        auto start = reinterpret_cast<uintptr_t>(operand.start);
        if (operand.bytes > 0 && !holds(start, operand.bytes)) {
            device::fault(std::to_string(operand.bytes) + " bytes at " + described(start));
        }
        for (const device::Operand& other : work.operands) {
            auto at = reinterpret_cast<uintptr_t>(other.start);
            if (operand.written && &other != &operand && start < at + other.bytes && at < start + operand.bytes) {
                device::fault("what it writes is among what it reads");
            }
        }
    }
    work.run();
    running = "nothing";
}

// Runs all that waits in a stream, or what was submitted to it before so much more was.
void drain(CUstream stream) {
    ONE_AT_A_TIME;
    stream = known(stream);
    drain(stream, stream->submitted);
}

void drain(CUstream stream, size_t end) {
    ONE_AT_A_TIME;
    while (stream->submitted - stream->waiting.size() < end) {
        Work work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        run(work);
    }
}

// Whether what is submitted to a stream is recorded.
bool records(CUstream stream) {
    ONE_AT_A_TIME;
    return known(stream)->recorded != nullptr;
}

// A call that waits, while work is recorded: the recording fails.
void spoil(CUstream stream) {
    ONE_AT_A_TIME;
    known(stream)->spoilt = true;
}

}  // namespace

namespace device {

void fault(const std::string& what) {
    fprintf(stderr, "emulated device: %s: %s\n", running.c_str(), what.c_str());
    _exit(134);
}

void take(double milliseconds) {
    ONE_AT_A_TIME;
    clock_ms += milliseconds;
}

bool idle() {
    static const bool asked = getenv("EMULATED_IDLE") != nullptr;
    return asked;
}

void submit(CUstream stream, Work work) {
    if (idle()) return;
    ONE_AT_A_TIME;
    stream = known(stream);
    if (stream->recorded) {
        stream->recorded->nodes.push_back(std::move(work));
        return;
    }
    ++stream->submitted;
    stream->waiting.push_back(std::move(work));
    if (stream->waiting.size() > MOST_WAITING) drain(stream);
}

}  // namespace device

// An error that the caller sees; said as well, since the caller may go on.
static CUresult refusal(CUresult error, const char* call) {
    fprintf(stderr, "emulated device: %s refuses: error %d\n", call, error);
    return error;
}
#define REFUSE(error) return refusal(error, __func__)

#define CURRENT \
    ONE_AT_A_TIME; \
    if (!current) REFUSE(CUDA_ERROR_INVALID_CONTEXT)

extern "C" {

// ---- the device

CUresult cuInit(unsigned) {
    ONE_AT_A_TIME;
    static bool done = false;
    if (!done) {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before);
        done = true;
    }
    return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int* version) {
    *version = 13000;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int* count) {
    *count = 1;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    *device = 0;
    return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetName(char* name, int size, CUdevice) {
    snprintf(name, size, "emulated device");
    return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) {
    *bytes = size_t(16) << 30;
    return CUDA_SUCCESS;
}
CUresult cuMemGetInfo(size_t* free, size_t* total) {
    *free = *total = size_t(16) << 30;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char** text) {
    static std::map<CUresult, std::string> texts;
    ONE_AT_A_TIME;
    *text = texts.emplace(error, "error " + std::to_string(error) + " of the emulated driver").first->second.c_str();
    return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char** text) {
    return cuGetErrorString(error, text);
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
    *context = &the_context;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) {
    return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = current;
    return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
    // What a fault needs for its words, which may be a fiber's; a thread's own is too small.
    thread_local bool has_stack = false;
    if (!has_stack) {
        stack_t stack = {};
        stack.ss_size = 256 << 10;
        stack.ss_sp = malloc(stack.ss_size);
        has_stack = sigaltstack(&stack, nullptr) == 0;
    }
    current = context;
    return CUDA_SUCCESS;
}
CUresult cuCtxDestroy(CUcontext) {
    return CUDA_SUCCESS;
}
CUresult cuCtxSynchronize() {
    CURRENT;
    for (CUstream stream : streams) {
        if (stream->recorded) {
            spoil(stream);
            REFUSE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        drain(stream);
    }
    return CUDA_SUCCESS;
}

// ---- memory

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
    CURRENT;
    stream = known(stream);
    bool of_graph = records(stream);
    // A node of a graph has to allocate something; outside of graphs nothing is an address too.
    if (bytes == 0 && of_graph) REFUSE(CUDA_ERROR_INVALID_VALUE);
    uintptr_t start = reserve(bytes, of_graph);
    if (of_graph && !idle()) {
        stream->recorded->memory.insert(start);
        submit(stream, {"allocation", {}, [=] { enliven(start); }});
    } else {
        enliven(start);
    }
    *address = start;
    return CUDA_SUCCESS;
}
CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    CURRENT;
    if (idle()) return CUDA_SUCCESS;
    stream = known(stream);
    auto found = allocations.find(address);
    if (found == allocations.end()) REFUSE(CUDA_ERROR_INVALID_VALUE);
    if (records(stream)) {
        // A graph frees what it allocates, and nothing else.
        CUgraph_st& graph = *stream->recorded;
        if (!graph.memory.count(address) || !graph.freed.insert(address).second) REFUSE(CUDA_ERROR_INVALID_VALUE);
    } else if (found->second.of_graph && !found->second.launched) {
        REFUSE(CUDA_ERROR_INVALID_VALUE);
    }
    submit(stream, {"freeing", {}, [=] { bury(address); }});
    return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr* address, size_t bytes) {
    CURRENT;
    if (bytes == 0) REFUSE(CUDA_ERROR_INVALID_VALUE);
    *address = reserve(bytes, false);
    enliven(*address);
    return CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr address) {
    CURRENT;
    CUresult waited = cuCtxSynchronize();
    if (waited != CUDA_SUCCESS) return waited;
    if (idle()) return CUDA_SUCCESS;
    if (!allocations.count(address)) REFUSE(CUDA_ERROR_INVALID_VALUE);
    bury(address);
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice) {
    *pool = &the_pool;
    return CUDA_SUCCESS;
}
CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void*) {
    return CUDA_SUCCESS;
}
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) {
    return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void** start, size_t bytes, unsigned) {
    CURRENT;
    void* got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) REFUSE(CUDA_ERROR_OUT_OF_MEMORY);
    pinned[reinterpret_cast<uintptr_t>(got)] = bytes;
    *start = got;
    return CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void* start) {
    CURRENT;
    auto found = pinned.find(reinterpret_cast<uintptr_t>(start));
    if (found == pinned.end()) REFUSE(CUDA_ERROR_INVALID_VALUE);
    auto first = reinterpret_cast<uintptr_t>(start);
    for (CUstream stream : streams) {
        for (const Work& work : stream->waiting) {
            auto from = reinterpret_cast<uintptr_t>(work.host);
            if (from >= first && from < first + found->second) fault("memory of the host is freed before a copy has read it");
        }
    }
    mprotect(start, found->second, PROT_NONE);
    pinned.erase(found);
    return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    CURRENT;
    stream = known(stream);
    auto at = reinterpret_cast<void*>(to);
    std::vector<Operand> operands{{at, bytes, true}};
    if (records(stream) || is_pinned(from)) {
        // Read when it runs.
        submit(stream, {"copy from the host", operands, [=] { memcpy(at, from, bytes); }, from});
    } else {
        auto start = static_cast<const char*>(from);
        submit(stream, {"copy from the host", operands, [=, copy = std::vector<char>(start, start + bytes)] {
            memcpy(at, copy.data(), bytes);
        }});
    }
    return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    CURRENT;
    stream = known(stream);
    auto at = reinterpret_cast<const void*>(from);
    bool recorded = records(stream);
    if (idle()) memset(to, 0, bytes);
    submit(stream, {"copy to the host", {{at, bytes}}, [=] { memcpy(to, at, bytes); }, to});
    if (!recorded && !is_pinned(to)) drain(stream);
    return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    CURRENT;
    stream = known(stream);
    auto target = reinterpret_cast<void*>(to);
    auto source = reinterpret_cast<const void*>(from);
    submit(stream, {"copy", {{target, bytes, true}, {source, bytes}}, [=] { memcpy(target, source, bytes); }});
    return CUDA_SUCCESS;
}
CUresult cuMemcpyPeerAsync(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t, CUstream) {
    REFUSE(CUDA_ERROR_NOT_SUPPORTED);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t bytes, CUstream stream) {
    CURRENT;
    stream = known(stream);
    auto at = reinterpret_cast<void*>(to);
    if (bytes == 0 && records(stream)) REFUSE(CUDA_ERROR_INVALID_VALUE);
    submit(stream, {"filling", {{at, bytes, true}}, [=] { memset(at, byte, bytes); }});
    return CUDA_SUCCESS;
}

// ---- streams and events

CUresult cuStreamCreate(CUstream* stream, unsigned) {
    CURRENT;
    *stream = new CUstream_st();
    streams.insert(*stream);
    return CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream stream) {
    CURRENT;
    stream = known(stream);
    drain(stream);
    streams.erase(stream);
    delete stream;
    return CUDA_SUCCESS;
}
CUresult cuStreamSynchronize(CUstream stream) {
    CURRENT;
    stream = known(stream);
    if (records(stream)) {
        spoil(stream);
        REFUSE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    drain(stream);
    return CUDA_SUCCESS;
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    CURRENT;
    stream = known(stream);
    if (records(stream)) fault("waiting for an event in a recording isn't emulated");
    if (CUstream other = event->stream) {
        submit(stream, {"waiting for an event", {}, [=, behind = event->behind] { drain(other, behind); }});
    }
    return CUDA_SUCCESS;
}
CUresult cuEventCreate(CUevent* event, unsigned) {
    CURRENT;
    *event = new CUevent_st();
    return CUDA_SUCCESS;
}
CUresult cuEventDestroy(CUevent event) {
    delete event;
    return CUDA_SUCCESS;
}
CUresult cuEventRecord(CUevent event, CUstream stream) {
    CURRENT;
    stream = known(stream);
    *event = {stream, stream->submitted, records(stream), clock_ms};
    return CUDA_SUCCESS;
}
CUresult cuEventSynchronize(CUevent event) {
    CURRENT;
    if (event->recorded) {
        spoil(event->stream);
        REFUSE(CUDA_ERROR_CAPTURED_EVENT);
    }
    if (event->stream) drain(event->stream, event->behind);
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    CURRENT;
    if (!start->stream || !end->stream || start->recorded || end->recorded) REFUSE(CUDA_ERROR_INVALID_HANDLE);
    *milliseconds = float(end->clock - start->clock);
    return CUDA_SUCCESS;
}

// ---- kernels

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    CURRENT;
    auto text = static_cast<const char*>(image);
    bool is_text = !memcmp(text, "//", 2) || !memcmp(text, "\n//", 3) || !memcmp(text, ".version", 8);
    *module = new CUmod_st{is_text ? text : "", {}};
    return CUDA_SUCCESS;
}
CUresult cuModuleLoad(CUmodule*, const char*) {
    REFUSE(CUDA_ERROR_NOT_SUPPORTED);
}
CUresult cuModuleUnload(CUmodule) {
    return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    CURRENT;
    if (!module->text.empty() && !module->found.count(name)) {
        if (module->text.find(".entry " + std::string(name) + "(") == std::string::npos) REFUSE(CUDA_ERROR_NOT_FOUND);
        module->found.insert(name);
    }
    static std::map<std::string, CUfunc_st> functions;
    if (functions.empty()) {
        for (const emulator::Kernel& kernel : all_kernels()) {
            functions[kernel.name] = {&kernel};
        }
    }
    auto found = functions.find(name);
    if (found == functions.end()) {
        fprintf(stderr, "emulated device: kernel %s isn't emulated\n", name);
        REFUSE(CUDA_ERROR_NOT_FOUND);
    }
    *function = &found->second;
    return CUDA_SUCCESS;
}
CUresult cuLaunchKernel(CUfunction function, unsigned columns, unsigned rows, unsigned layers, unsigned x, unsigned y,
                        unsigned z, unsigned shared, CUstream stream, void** arguments, void** extra) {
    CURRENT;
    stream = known(stream);
    // What the hardware refuses.
    if (!columns || !rows || !layers || columns > 0x7fffffff || rows > 0xffff || layers > 0xffff) REFUSE(CUDA_ERROR_INVALID_VALUE);
    if (!x || !y || !z || size_t(x) * y * z > 1024 || x > 1024 || y > 1024 || z > 64 || shared > 48 << 10) REFUSE(CUDA_ERROR_INVALID_VALUE);
    if (extra) REFUSE(CUDA_ERROR_NOT_SUPPORTED);
    if (idle()) return CUDA_SUCCESS;
    const emulator::Kernel* kernel = function->kernel;
    std::vector<std::vector<char>> values;
    for (size_t i = 0; i < kernel->parameters.size(); ++i) {
        auto value = static_cast<const char*>(arguments[i]);
        values.emplace_back(value, value + kernel->parameters[i].size);
    }
    submit(stream, {kernel->name, {}, [=, values = std::move(values)]() mutable {
        std::vector<void*> pointers;
        for (size_t i = 0; i < values.size(); ++i) {
            pointers.push_back(values[i].data());
            uintptr_t address = 0;
            if (kernel->parameters[i].kind == 'p') memcpy(&address, values[i].data(), sizeof address);
            if (address && !holds(address, 0)) fault("argument " + std::to_string(i) + " is " + described(address));
        }
        dim3 grid, threads;
        grid.x = columns, grid.y = rows, grid.z = layers;
        threads.x = x, threads.y = y, threads.z = z;
        emulator::launch(*kernel, grid, threads, pointers.data(), function->launches++ % 2 == 1);
        if (!emulator::fault.empty()) fault(emulator::fault);
    }});
    return CUDA_SUCCESS;
}

// ---- recordings

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode) {
    CURRENT;
    stream = known(stream);
    if (records(stream)) REFUSE(CUDA_ERROR_ILLEGAL_STATE);
    stream->recorded = std::make_unique<CUgraph_st>();
    stream->spoilt = false;
    return CUDA_SUCCESS;
}
CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
    CURRENT;
    stream = known(stream);
    *status = !records(stream)  ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->spoilt ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                               : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    CURRENT;
    stream = known(stream);
    if (!records(stream)) REFUSE(CUDA_ERROR_ILLEGAL_STATE);
    *graph = stream->recorded.release();
    if (stream->spoilt) {
        delete *graph;
        *graph = nullptr;
        REFUSE(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    return CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
    CURRENT;
    if (flags & ~(unsigned long long)CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) REFUSE(CUDA_ERROR_NOT_SUPPORTED);
    *exec = new CUgraphExec_st{*graph, (flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0};
    return CUDA_SUCCESS;
}
CUresult cuGraphUpload(CUgraphExec, CUstream) {
    CURRENT;
    return CUDA_SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    CURRENT;
    stream = known(stream);
    if (records(stream)) REFUSE(CUDA_ERROR_NOT_SUPPORTED);
    for (uintptr_t start : exec->graph.memory) {
        allocations.at(start).launched = true;
    }
    // It may be given up before it runs.
    auto kept = std::make_shared<CUgraphExec_st>(*exec);
    submit(stream, {"graph", {}, [=] {
        for (uintptr_t start : kept->graph.memory) {
            if (!allocations.at(start).live) continue;
            if (!kept->frees_on_launch) fault("memory of its last launch is still there");
            bury(start);
        }
        for (const Work& work : kept->graph.nodes) {
            run(work, true);
        }
    }});
    return CUDA_SUCCESS;
}
CUresult cuGraphExecDestroy(CUgraphExec exec) {
    ONE_AT_A_TIME;
    delete exec;
    return CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph graph) {
    ONE_AT_A_TIME;
    delete graph;
    return CUDA_SUCCESS;
}

}  // extern "C"
