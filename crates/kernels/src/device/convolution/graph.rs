//! cuDNN's interface of graphs, here of one operation: heuristics list the engines that can compute it, best first.

use std::ffi::c_void;
use std::ptr::null_mut;

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Kind,
    cudnnBackendDescriptorType_t as Type, cudnnBackendHeurMode_t as Heuristic, cudnnDataType_t as Data,
};

use super::{Answer, Direction, Places, Problem};

/// How many of what a heuristic ranks first come before what it ranks below: often they are one engine with other settings, and
/// another heuristic ranks another engine first.
const FIRST: usize = 5;

/// What input, weight and output are called in the graph.
const NAMES: [i64; 3] = [1, 2, 3];

/// Numerical notes of an engine, by their numbers in cuDNN, of which later versions may know more.
const TENSOR_CORES: u32 = 0;
const DOWN_CONVERTS_INPUTS: u32 = 1;
const SUMS_ARE_LESS_PRECISE: u32 = 2;
const NOT_DETERMINISTIC: u32 = 4;
const NOTES: usize = 32;

/// An object of cuDNN's.
struct Descriptor(sys::cudnnBackendDescriptor_t);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was created, and nobody else has it. What fails here can't be mended.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

impl Descriptor {
    fn new(of: Type) -> Answer<Self> {
        let mut descriptor = null_mut();
        // SAFETY: there is room for the one that is made.
        unsafe { sys::cudnnBackendCreateDescriptor(of, &mut descriptor) }.result()?;
        Ok(Self(descriptor))
    }

    /// Sets an attribute, whose values are of the type that `kind` names.
    fn set<T>(&self, attribute: Attribute, kind: Kind, values: &[T]) -> Answer<()> {
        let count = values.len() as i64;
        // SAFETY: cuDNN reads so many values.
        unsafe { sys::cudnnBackendSetAttribute(self.0, attribute, kind, count, values.as_ptr().cast()) }
            .result()
    }

    fn ints(&self, attribute: Attribute, values: &[usize]) -> Answer<()> {
        let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
        self.set(attribute, Kind::CUDNN_TYPE_INT64, &values)
    }

    fn refer(&self, attribute: Attribute, to: &Self) -> Answer<()> {
        self.set(attribute, Kind::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[to.0])
    }

    /// Reads up to `room` values of an attribute; gives how many there are.
    fn get<T>(&self, attribute: Attribute, kind: Kind, room: &mut [T]) -> Answer<usize> {
        let (mut count, most) = (0, room.len() as i64);
        let to: *mut c_void = if room.is_empty() { null_mut() } else { room.as_mut_ptr().cast() };
        // SAFETY: there is room for so many.
        unsafe { sys::cudnnBackendGetAttribute(self.0, attribute, kind, most, &mut count, to) }.result()?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Says that all attributes are set.
    fn whole(self) -> Answer<Self> {
        // SAFETY: it is alive.
        unsafe { sys::cudnnBackendFinalize(self.0) }.result()?;
        Ok(self)
    }
}

/// An engine with its settings, ready to be launched.
pub(super) struct Plan {
    plan: Descriptor,
    pub(super) workspace: usize,
    /// What it was made of.
    _config: Descriptor,
}

impl Plan {
    fn new(handle: sys::cudnnHandle_t, config: Descriptor) -> Answer<Self> {
        let plan = Descriptor::new(Type::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        plan.set(Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Kind::CUDNN_TYPE_HANDLE, &[handle])?;
        plan.refer(Attribute::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &config)?;
        let (plan, mut size) = (plan.whole()?, [0i64]);
        plan.get(Attribute::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, Kind::CUDNN_TYPE_INT64, &mut size)?;
        Ok(Self { plan, workspace: usize::try_from(size[0]).unwrap_or(usize::MAX), _config: config })
    }

    /// # Safety
    /// As [`super::Plan::launch`].
    pub(super) unsafe fn launch(&self, handle: sys::cudnnHandle_t, places: Places) -> Answer<()> {
        let pack = Descriptor::new(Type::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?;
        let pointer = Kind::CUDNN_TYPE_VOID_PTR;
        pack.set(Attribute::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, Kind::CUDNN_TYPE_INT64, &NAMES)?;
        pack.set(Attribute::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointer, &places.maps)?;
        pack.set(Attribute::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, pointer, &[places.workspace])?;
        let pack = pack.whole()?;
        // SAFETY: the maps are as large as the graph says and the working memory as the plan does, by the caller's word.
        unsafe { sys::cudnnBackendExecute(handle, self.plan.0, pack.0) }.result()
    }
}

/// The ways to compute a problem, as heuristics rank them; none where cuDNN doesn't take it. Each is made when it is asked for,
/// since some engines are compiled then.
pub(super) fn candidates(handle: sys::cudnnHandle_t, problem: Problem) -> impl Iterator<Item = Plan> {
    let graph = graph_of(handle, &problem).ok();
    let ranked = |mode| graph.as_ref().and_then(|(graph, _)| ranked(graph, mode).ok()).unwrap_or_default();
    let mut configs = ranked(Heuristic::CUDNN_HEUR_MODE_A);
    let below = configs.split_off(configs.len().min(FIRST));
    configs.extend(ranked(Heuristic::CUDNN_HEUR_MODE_B).into_iter().take(FIRST));
    configs.extend(below.into_iter().chain(ranked(Heuristic::CUDNN_HEUR_MODE_FALLBACK)));
    let suited = configs.into_iter().filter(move |config| suits(config, &problem).unwrap_or(false));
    suited.filter_map(move |config| {
        // What the configurations are of has to be there.
        let _graph = &graph;
        // An engine may refuse what heuristics have thought that it takes.
        Plan::new(handle, config).ok()
    })
}

/// A map or a weight, by its number among input, weight and output.
fn tensor(problem: &Problem, number: usize) -> Answer<Descriptor> {
    let [first, channels, height, width] = problem.shapes()[number];
    let strides = match problem.rows {
        true => [height * width * channels, 1, width * channels, channels],
        false => [channels * height * width, height * width, width, 1],
    };
    let tensor = Descriptor::new(Type::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?;
    let data = if problem.rows { Data::CUDNN_DATA_BFLOAT16 } else { Data::CUDNN_DATA_FLOAT };
    tensor.set(Attribute::CUDNN_ATTR_TENSOR_DATA_TYPE, Kind::CUDNN_TYPE_DATA_TYPE, &[data])?;
    tensor.ints(Attribute::CUDNN_ATTR_TENSOR_DIMENSIONS, &[first, channels, height, width])?;
    tensor.ints(Attribute::CUDNN_ATTR_TENSOR_STRIDES, &strides)?;
    tensor.set(Attribute::CUDNN_ATTR_TENSOR_UNIQUE_ID, Kind::CUDNN_TYPE_INT64, &[NAMES[number]])?;
    tensor.ints(Attribute::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[problem.alignment as usize])?;
    tensor.whole()
}

/// What the three directions differ in: the operation's type, and its names of the convolution, of input, weight and output, and of
/// the two factors.
fn names(direction: Direction) -> (Type, Attribute, [Attribute; 3], [Attribute; 2]) {
    match direction {
        Direction::Forward => (
            Type::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            ],
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Direction::Input => (
            Type::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            ],
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Direction::Weight => (
            Type::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            ],
            [
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// The convolution, or the gradient, and what it is described by; groups follow from the numbers of channels.
fn operation(problem: &Problem) -> Answer<(Descriptor, Vec<Descriptor>)> {
    let conv = Descriptor::new(Type::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?;
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    conv.ints(Attribute::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])?;
    conv.set(
        Attribute::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
        Kind::CUDNN_TYPE_DATA_TYPE,
        &[Data::CUDNN_DATA_FLOAT],
    )?;
    conv.set(Attribute::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Kind::CUDNN_TYPE_CONVOLUTION_MODE, &[mode])?;
    conv.ints(Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &problem.conv.padding)?;
    conv.ints(Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &problem.conv.padding)?;
    conv.ints(Attribute::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &problem.conv.stride)?;
    conv.ints(Attribute::CUDNN_ATTR_CONVOLUTION_DILATIONS, &problem.conv.dilation)?;
    let conv = conv.whole()?;
    let (of, by, names, factors) = names(problem.direction);
    let operation = Descriptor::new(of)?;
    operation.refer(by, &conv)?;
    let mut parts = vec![conv];
    for (number, name) in names.into_iter().enumerate() {
        let tensor = tensor(problem, number)?;
        operation.refer(name, &tensor)?;
        parts.push(tensor);
    }
    for (factor, value) in factors.into_iter().zip([1.0f32, 0.0]) {
        operation.set(factor, Kind::CUDNN_TYPE_FLOAT, &[value])?;
    }
    Ok((operation.whole()?, parts))
}

/// The graph of the one operation, and what it is made of.
fn graph_of(handle: sys::cudnnHandle_t, problem: &Problem) -> Answer<(Descriptor, Vec<Descriptor>)> {
    let (operation, mut parts) = operation(problem)?;
    let graph = Descriptor::new(Type::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
    graph.set(Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Kind::CUDNN_TYPE_HANDLE, &[handle])?;
    graph.refer(Attribute::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?;
    parts.push(operation);
    Ok((graph.whole()?, parts))
}

/// The engines with their settings that a heuristic names, best first.
fn ranked(graph: &Descriptor, mode: Heuristic) -> Answer<Vec<Descriptor>> {
    let heuristic = Descriptor::new(Type::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?;
    heuristic.refer(Attribute::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?;
    heuristic.set(Attribute::CUDNN_ATTR_ENGINEHEUR_MODE, Kind::CUDNN_TYPE_HEUR_MODE, &[mode])?;
    let heuristic = heuristic.whole()?;
    let (results, kind) = (Attribute::CUDNN_ATTR_ENGINEHEUR_RESULTS, Kind::CUDNN_TYPE_BACKEND_DESCRIPTOR);
    let count = heuristic.get::<sys::cudnnBackendDescriptor_t>(results, kind, &mut [])?;
    let new = |_| Descriptor::new(Type::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    let mut configs = (0..count).map(new).collect::<Answer<Vec<_>>>()?;
    // cuDNN fills those that it is given.
    let mut room: Vec<_> = configs.iter().map(|config| config.0).collect();
    let found = heuristic.get(results, kind, &mut room)?;
    configs.truncate(found);
    Ok(configs)
}

/// Whether an engine is as exact and as repeatable as the problem asks.
fn suits(config: &Descriptor, problem: &Problem) -> Answer<bool> {
    let mut engine = Descriptor::new(Type::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    let kind = Kind::CUDNN_TYPE_BACKEND_DESCRIPTOR;
    config.get(Attribute::CUDNN_ATTR_ENGINECFG_ENGINE, kind, std::slice::from_mut(&mut engine.0))?;
    let mut notes = [0u32; NOTES];
    let (name, kind) = (Attribute::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Kind::CUDNN_TYPE_NUMERICAL_NOTE);
    let count = engine.get(name, kind, &mut notes)?;
    let has = |note| notes[..count.min(NOTES)].contains(&note);
    // Of `f32`, tensor cores take TF32; what converts down takes 16 bits, which nobody has asked for.
    let exact = problem.rows || problem.math.tf32 || !has(TENSOR_CORES);
    let repeats = !problem.math.deterministic || !has(NOT_DETERMINISTIC);
    Ok(exact && repeats && !has(DOWN_CONVERTS_INPUTS) && !has(SUMS_ARE_LESS_PRECISE))
}

/// Why cuDNN refused last, in its own words.
pub(super) fn last_refusal() -> String {
    let mut text = [0u8; 512];
    // SAFETY: there is room for so many bytes, the last of which stays 0.
    unsafe { sys::cudnnGetLastErrorString(text.as_mut_ptr().cast(), text.len() - 1) };
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}
