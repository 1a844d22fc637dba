// cuDNN's interface of graphs, for graphs of one convolution or one of its gradients. It holds the program to what the interface
// asks: each attribute of its own type and number, parts that are whole before they are used, no change after.
//
// Its engines are seven: the first is fast, and its gradients aren't the same each time; the next is slow; one refuses when a plan is
// made, one when it is launched; one rounds `f32` to 16 bits, one to TF32, and one doesn't round. Depthwise convolutions have
// none, so that the program asks for algorithms.
#include "convolutions.h"

#include <cstdio>
#include <map>
#include <set>

using namespace convolutions;

namespace {

// Types of descriptors, of attributes' values, and the attributes themselves, as cuDNN numbers them.
enum { CONVOLUTION = 1, ENGINE = 2, CONFIG = 3, HEURISTIC = 4, PLAN = 5 };
enum { FORWARD_OP = 10, WEIGHT_OP = 11, INPUT_OP = 12, GRAPH = 15, PACK = 16, TENSOR = 17 };
enum { HANDLE_VALUE = 0, DATA_VALUE = 1, INT_VALUE = 3, FLOAT_VALUE = 4, POINTER_VALUE = 6 };
enum { CONV_MODE_VALUE = 7, HEURISTIC_VALUE = 8, NOTE_VALUE = 11, DESCRIPTOR_VALUE = 15 };
enum { TENSOR_CORES = 0, DOWN_CONVERTS = 1, NOT_DETERMINISTIC = 4 };

struct Attribute {
    int of, kind, count;
};

const std::map<int, Attribute> attributes = {
    {100, {CONVOLUTION, DATA_VALUE, 1}}, {101, {CONVOLUTION, CONV_MODE_VALUE, 1}}, {102, {CONVOLUTION, INT_VALUE, 2}},
    {103, {CONVOLUTION, INT_VALUE, 2}}, {104, {CONVOLUTION, INT_VALUE, 2}}, {105, {CONVOLUTION, INT_VALUE, 2}},
    {106, {CONVOLUTION, INT_VALUE, 1}}, {200, {HEURISTIC, HEURISTIC_VALUE, 1}}, {201, {HEURISTIC, DESCRIPTOR_VALUE, 1}},
    {400, {PLAN, HANDLE_VALUE, 1}}, {401, {PLAN, DESCRIPTOR_VALUE, 1}}, {700, {FORWARD_OP, FLOAT_VALUE, 1}},
    {701, {FORWARD_OP, FLOAT_VALUE, 1}}, {702, {FORWARD_OP, DESCRIPTOR_VALUE, 1}}, {703, {FORWARD_OP, DESCRIPTOR_VALUE, 1}},
    {704, {FORWARD_OP, DESCRIPTOR_VALUE, 1}}, {705, {FORWARD_OP, DESCRIPTOR_VALUE, 1}}, {706, {INPUT_OP, FLOAT_VALUE, 1}},
    {707, {INPUT_OP, FLOAT_VALUE, 1}}, {708, {INPUT_OP, DESCRIPTOR_VALUE, 1}}, {709, {INPUT_OP, DESCRIPTOR_VALUE, 1}},
    {710, {INPUT_OP, DESCRIPTOR_VALUE, 1}}, {711, {INPUT_OP, DESCRIPTOR_VALUE, 1}}, {712, {WEIGHT_OP, FLOAT_VALUE, 1}},
    {713, {WEIGHT_OP, FLOAT_VALUE, 1}}, {714, {WEIGHT_OP, DESCRIPTOR_VALUE, 1}}, {715, {WEIGHT_OP, DESCRIPTOR_VALUE, 1}},
    {716, {WEIGHT_OP, DESCRIPTOR_VALUE, 1}}, {717, {WEIGHT_OP, DESCRIPTOR_VALUE, 1}}, {800, {GRAPH, HANDLE_VALUE, 1}},
    {801, {GRAPH, DESCRIPTOR_VALUE, 1}}, {900, {TENSOR, INT_VALUE, 1}}, {901, {TENSOR, DATA_VALUE, 1}},
    {902, {TENSOR, INT_VALUE, 4}}, {903, {TENSOR, INT_VALUE, 4}}, {906, {TENSOR, INT_VALUE, 1}}, {1000, {PACK, INT_VALUE, 3}},
    {1001, {PACK, POINTER_VALUE, 3}}, {1003, {PACK, POINTER_VALUE, 1}}};

size_t size_of(int kind) {
    bool small = kind == DATA_VALUE || kind == FLOAT_VALUE || kind == CONV_MODE_VALUE || kind == HEURISTIC_VALUE;
    return small ? 4 : 8;
}

// What a whole graph says.
struct Meaning {
    Problem problem;
    Direction direction;
    // What input, weight and output are called, and the bytes that their addresses have to be multiples of.
    int64_t names[3], alignment[3];
    float alpha, beta;
};

struct Descriptor {
    int type;
    bool whole = false;
    std::map<int, std::vector<char>> values;
    Meaning meaning = {};
    int engine = -1;
    int mode = -1;

    template <class T>
    T one(int attribute, int number = 0) const {
        T value;
        std::memcpy(&value, values.at(attribute).data() + number * sizeof(T), sizeof(T));
        return value;
    }
    Descriptor& part(int attribute) const { return *one<Descriptor*>(attribute); }

    size_t memory() const { return meaning.problem.memory(engine); }
    bool complete() const {
        for (const auto& [name, attribute] : attributes) {
            if (attribute.of == type && !values.count(name)) return false;
        }
        return true;
    }
};

std::set<Descriptor*> descriptors;

Tensor tensor_of(const Descriptor& from) {
    Tensor tensor;
    tensor.kind = from.one<int>(901);
    for (int i = 0; i < 4; ++i) {
        tensor.size[i] = int(from.one<int64_t>(902, i));
        tensor.step[i] = int(from.one<int64_t>(903, i));
    }
    return tensor;
}

// What the operation of a graph says; whether it can be computed.
int understand(Descriptor& graph) {
    const Descriptor& operation = graph.part(801);
    Meaning& meaning = graph.meaning;
    int first = operation.type == FORWARD_OP ? 700 : operation.type == INPUT_OP ? 706 : 712;
    meaning.direction = operation.type == FORWARD_OP ? FORWARD : operation.type == INPUT_OP ? INPUT : WEIGHT;
    meaning.alpha = operation.one<float>(first);
    meaning.beta = operation.one<float>(first + 1);
    // Of the operations' attributes: input, weight, output.
    const int places[3][3] = {{704, 703, 705}, {710, 709, 711}, {716, 715, 717}};
    Tensor tensors[3];
    for (int i = 0; i < 3; ++i) {
        const Descriptor& part = operation.part(places[meaning.direction][i]);
        tensors[i] = tensor_of(part);
        meaning.names[i] = part.one<int64_t>(906);
        meaning.alignment[i] = part.one<int64_t>(900);
    }
    const Descriptor& conv = operation.part(first + 2);
    Convolution told;
    for (int i = 0; i < 2; ++i) {
        told.pad[i] = int(conv.one<int64_t>(105, i));
        told.stride[i] = int(conv.one<int64_t>(103, i));
        told.gap[i] = int(conv.one<int64_t>(102, i));
        if (conv.one<int64_t>(104, i) != told.pad[i]) return NOT_SUPPORTED;
    }
    if (conv.one<int64_t>(106) != 2 || conv.one<int>(100) != FLOAT) return NOT_SUPPORTED;
    told.mode = conv.one<int>(101);
    if (tensors[1].size[1] == 0 || tensors[0].size[1] % tensors[1].size[1]) return BAD_PARAM;
    told.groups = tensors[0].size[1] / tensors[1].size[1];
    told.math = tensors[0].kind == BFLOAT16 ? TENSOR_OP_MATH : DEFAULT_MATH;
    meaning.problem = {tensors[0], tensors[1], tensors[2], told};
    if (tensors[1].size[1] == 1 && told.groups > 1) return NOT_SUPPORTED;
    return meaning.problem.check();
}

enum Engines { SLOW, FAST, REFUSES_PLANS, REFUSES_LAUNCHES, HALVES, ROUNDS, EXACT };

// Milliseconds that each takes.
const double times[] = {5.0, 0.5, 1.0, 1.0, 0.7, 0.8, 1.0};

std::vector<int> notes_of(const Descriptor& engine) {
    bool is_float = engine.meaning.problem.input.kind == FLOAT;
    std::vector<int> notes;
    if (!is_float || (engine.engine != EXACT && engine.engine != SLOW)) notes.push_back(TENSOR_CORES);
    if (is_float && engine.engine == HALVES) notes.push_back(DOWN_CONVERTS);
    if (engine.engine == FAST && engine.meaning.direction != FORWARD) notes.push_back(NOT_DETERMINISTIC);
    return notes;
}

}  // namespace

extern "C" {

int cudnnBackendCreateDescriptor(int type, Descriptor** descriptor) {
    *descriptor = new Descriptor{type};
    descriptors.insert(*descriptor);
    return SUCCESS;
}
int cudnnBackendDestroyDescriptor(Descriptor* descriptor) {
    if (!descriptors.erase(descriptor)) device::fault("a descriptor that isn't there is given up");
    delete descriptor;
    return SUCCESS;
}
int cudnnBackendSetAttribute(Descriptor* descriptor, int name, int kind, int64_t count, const void* values) {
    auto known = attributes.find(name);
    if (descriptor->whole || known == attributes.end()) return NOT_INITIALIZED;
    const Attribute& attribute = known->second;
    if (attribute.of != descriptor->type || attribute.kind != kind || attribute.count != count) return BAD_PARAM;
    auto from = static_cast<const char*>(values);
    descriptor->values[name].assign(from, from + count * size_of(kind));
    if (kind == DESCRIPTOR_VALUE) {
        Descriptor* part = &descriptor->part(name);
        if (!descriptors.count(part) || !(part->whole || part->type == CONFIG)) return BAD_PARAM;
    }
    return SUCCESS;
}
int cudnnBackendFinalize(Descriptor* descriptor) {
    if (descriptor->whole || !descriptor->complete()) return BAD_PARAM;
    int status = SUCCESS;
    if (descriptor->type == GRAPH) status = understand(*descriptor);
    if (descriptor->type == HEURISTIC) {
        descriptor->meaning = descriptor->part(201).meaning;
        descriptor->mode = descriptor->one<int>(200);
    }
    if (descriptor->type == PLAN) {
        const Descriptor& config = descriptor->part(401);
        descriptor->meaning = config.meaning;
        descriptor->engine = config.engine;
        if (config.engine == REFUSES_PLANS) status = NOT_SUPPORTED;
    }
    descriptor->whole = status == SUCCESS;
    return status;
}
int cudnnBackendGetAttribute(Descriptor* descriptor, int name, int kind, int64_t most, int64_t* count, void* values) {
    if (name == 202 && kind == DESCRIPTOR_VALUE && descriptor->type == HEURISTIC && descriptor->whole) {
        // The heuristic's own, and what it falls back to.
        std::vector<int> engines{EXACT};
        if (descriptor->mode != 2) engines = {FAST, SLOW, REFUSES_PLANS, REFUSES_LAUNCHES, HALVES, ROUNDS};
        auto configs = static_cast<Descriptor**>(values);
        for (int64_t i = 0; i < std::min<int64_t>(most, engines.size()); ++i) {
            if (configs[i]->type != CONFIG) return BAD_PARAM;
            configs[i]->engine = engines[i];
            configs[i]->meaning = descriptor->meaning;
        }
        *count = most ? std::min<int64_t>(most, engines.size()) : engines.size();
        return SUCCESS;
    }
    if (name == 300 && kind == DESCRIPTOR_VALUE && descriptor->type == CONFIG && most == 1) {
        Descriptor* engine = *static_cast<Descriptor**>(values);
        if (engine->type != ENGINE) return BAD_PARAM;
        engine->engine = descriptor->engine;
        engine->meaning = descriptor->meaning;
        *count = 1;
        return SUCCESS;
    }
    if (name == 1303 && kind == NOTE_VALUE && descriptor->type == ENGINE) {
        std::vector<int> notes = notes_of(*descriptor);
        *count = std::min<int64_t>(most, notes.size());
        std::memcpy(values, notes.data(), *count * sizeof(int));
        return SUCCESS;
    }
    if (name == 402 && kind == INT_VALUE && descriptor->type == PLAN && descriptor->whole && most == 1) {
        int64_t size = descriptor->memory();
        std::memcpy(values, &size, sizeof size);
        *count = 1;
        return SUCCESS;
    }
    return NOT_SUPPORTED;
}
void cudnnGetLastErrorString(char* text, size_t size) {
    snprintf(text, size, "depthwise convolutions have no engine here");
}
int cudnnBackendExecute(Handle* handle, Descriptor* plan, Descriptor* pack) {
    if (plan->type != PLAN || pack->type != PACK || !plan->whole || !pack->whole) return BAD_PARAM;
    if (plan->engine == REFUSES_LAUNCHES) return NOT_SUPPORTED;
    if (plan->engine == HALVES && plan->meaning.problem.input.kind == FLOAT) device::fault("f32 is rounded to 16 bits");
    Meaning meaning = plan->meaning;
    void* maps[3] = {};
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 3; ++k) {
            if (meaning.names[i] == pack->one<int64_t>(1000, k)) maps[i] = pack->one<void*>(1001, k);
        }
        if (!maps[i] || reinterpret_cast<uintptr_t>(maps[i]) % meaning.alignment[i]) return BAD_PARAM;
    }
    bool exact = plan->engine == EXACT || plan->engine == SLOW;
    if (meaning.problem.input.kind == FLOAT && exact) meaning.problem.conv.math = FMA_MATH;
    // Not the same each time, by about a digit of what is rounded.
    static int made = 0;
    float digit = meaning.problem.input.kind == FLOAT ? 1.0f / 32768.0f : 1.0f / 256.0f;
    if (plan->engine == FAST && meaning.direction != FORWARD && ++made % 2) meaning.alpha *= 1.0f + digit;
    device::take(times[plan->engine]);
    const int first = meaning.direction == INPUT ? 1 : 0, second = meaning.direction == FORWARD ? 1 : 2;
    const int target = meaning.direction == FORWARD ? 2 : meaning.direction == INPUT ? 0 : 1;
    return launch(handle, meaning.problem, meaning.direction, plan->memory(), meaning.alpha, maps[first], maps[second],
                  pack->one<void*>(1003), plan->memory(), meaning.beta, maps[target], plan->engine == SLOW ? ", slowly" : "");
}

}  // extern "C"
