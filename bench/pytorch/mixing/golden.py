"""Compares the functions of this folder with golden cases, files that `tests/goldens/README.md` describes."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from . import alignmix, comixup, handmade, puzzlemix, saliency, tokens


class Case:
    """One file: scalars of `params` and tensors under `in/` or `w/` are its attributes."""

    def __init__(self, path: Path):
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.name, self.op = path.stem, metadata["op"]
        self.params = json.loads(metadata["params"])
        self.rtol, self.atol = float(metadata["rtol"]), float(metadata["atol"])
        for name, shape in self.params.get("formula_inputs", {}).items():
            self.tensors[f"in/{name}"] = formula(name, shape)

    def __getattr__(self, name: str):
        for role in ("in", "w"):
            if f"{role}/{name}" in self.tensors:
                return self.tensors[f"{role}/{name}"]
        if name in self.params:
            return self.params[name]
        raise AttributeError(f"{self.name}: no `{name}`")

    def pair(self, name: str) -> tuple:
        """`name_row` and `name_col`, with whatever follows after a dot."""
        stem, _, rest = name.partition(".")
        return getattr(self, f"{stem}_row{rest}"), getattr(self, f"{stem}_col{rest}")

    def settings(self, kind: type):
        """Those parameters that are fields of a dataclass; `neigh_size` and the like."""
        names = {field.name for field in fields(kind)}
        return kind(**{name: value for name, value in self.params.items() if name in names})

    def fault(self, outputs: dict) -> str | None:
        """What is wrong with the outputs, if something is."""
        for name, want in self.tensors.items():
            if not name.startswith("out/"):
                continue
            got = as_tensor(outputs[name.removeprefix("out/")], want.dtype)
            if got.shape != want.shape or got.dtype != want.dtype:
                return f"{name} is {got.dtype} {list(got.shape)}, expected {want.dtype} {list(want.shape)}"
            difference = (got.double() - want.double()).abs().max().item() if want.numel() else 0.0
            largest = want.double().abs().max().item() if want.numel() else 0.0
            if not difference <= self.atol + self.rtol * largest:
                return f"{name} is off by {difference:.3g}, largest value {largest:.3g}"
        return None


def as_tensor(value: object, dtype: torch.dtype) -> Tensor:
    """Numbers become tensors of one dimension; arrays and tensors stay what they are."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value if value.dim() else value[None]
    return torch.tensor(value if isinstance(value, tuple) else [value], dtype=dtype)


def formula(name: str, shape: list[int]) -> Tensor:
    """Inputs that aren't stored: a hash of name and index."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    values = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def resizemix(c: Case) -> dict:
    return handmade.resizemix(c.x, c.perm, c.tau, c.pair("center"), c.mode)


def fmix(c: Case) -> dict:
    return handmade.fmix(c.x, c.perm, c.noise, c.lam, c.rounding, c.decay_power, c.max_soft, c.variant)


def gridmix(c: Case) -> dict:
    place = (c.u_row, c.u_col)
    ratios = (c.hole_aspect_ratio, c.cut_area_ratio, c.cut_aspect_ratio)
    return handmade.gridmix(c.x, c.perm, c.lam, c.n_holes, *ratios, place)


def recursivemix(c: Case) -> dict:
    center = c.pair("center")
    return handmade.recursivemix(c.x, c.old_x, c.target, c.old_target, c.ratio, center, c.mode)


def attentivemix(c: Case) -> dict:
    return saliency.attentivemix(c.x, c.perm, c.features, c.params.get("lam"), c.params.get("top_k"))


def snapmix(c: Case) -> dict:
    centers = (c.pair("center._a"), c.pair("center._b"))
    return saliency.snapmix(c.x, c.perm, c.label, c.spm, (c.lam_a, c.lam_b), centers)


def puzzlemix_unary(c: Case) -> dict:
    settings = c.settings(puzzlemix.Settings)
    mean, std = torch.tensor(c.mean), torch.tensor(c.std)
    return puzzlemix.unary_terms(c.x, c.saliency, c.perm, c.block_num, mean, std, settings)


def puzzlemix_mask(c: Case) -> dict:
    terms = {name: getattr(c, name) for name in ("unary1", "unary2", "pw_v", "pw_h")}
    costs = puzzlemix.cut_costs(terms, c.lam, c.unary1.shape[1], c.settings(puzzlemix.Settings))
    unary_cost, weight_v, weight_h = costs
    labels = puzzlemix.graph_cut(*costs)
    return {
        "unary_cost": unary_cost,
        "weight_v": weight_v,
        "weight_h": weight_h,
        "labels": labels,
        "energy": puzzlemix.energy(labels, *costs),
        "mask": puzzlemix.block_mask(labels, c.n_labels),
    }


def puzzlemix_graphcut(c: Case) -> dict:
    costs = (c.unary_cost, c.weight_v, c.weight_h)
    labels = puzzlemix.graph_cut(*costs)
    return {"labels": labels, "energy": puzzlemix.energy(labels, *costs)}


def puzzlemix_transport(c: Case) -> dict:
    dest = puzzlemix.destinations(c.mask, c.saliency_norm, c.t_eps)
    return {"dest": dest, "image": puzzlemix.moved(c.x, dest)}


def puzzlemix_whole(c: Case) -> dict:
    mean, std = torch.tensor(c.mean), torch.tensor(c.std)
    settings = c.settings(puzzlemix.Settings)
    return puzzlemix.puzzlemix(c.x, c.grad, c.perm, c.lam, c.block_num, mean, std, settings)


def comixup_labels(c: Case) -> dict:
    mask, iterations = comixup.label(c.cost, c.compat, c.alpha, c.init, c.settings(comixup.Settings))
    return {"mask": mask, "iterations": iterations}


def comixup_whole(c: Case) -> dict:
    settings = c.settings(comixup.Settings)
    return comixup.comixup(c.x, c.saliency, c.target, c.alpha, c.init, c.block_num, settings)


def mixpro(c: Case) -> dict:
    sizes = (c.mask_patch_size, c.model_patch_size, c.num_classes, c.smoothing)
    return tokens.mixpro(c.x, c.perm, c.token_mask, c.attn, c.logits, c.label, *sizes)


OPS: dict[str, Callable[[Case], dict]] = {
    "mixup": lambda c: handmade.mixup(c.x, c.perm, c.lam),
    "manifoldmix": lambda c: handmade.manifoldmix(c.hidden, c.perm, c.lam),
    "cutmix": lambda c: handmade.cutmix(c.x, c.perm, c.lam, c.pair("center")),
    "cutout": lambda c: handmade.cutout(c.x, c.center, c.length),
    "resizemix": resizemix,
    "fmix_grey": lambda c: {
        "grey": handmade.fmix_grey(c.noise, c.height, c.width, c.decay_power, c.variant)
    },
    "fmix_mask": lambda c: {"mask": handmade.fmix_mask(c.grey, c.lam, c.rounding, c.max_soft)},
    "fmix": fmix,
    "gridmix": gridmix,
    "smoothmix": lambda c: handmade.smoothmix(c.x, c.perm, c.pair("shift"), c.sigma, c.params["label"]),
    "recursivemix": recursivemix,
    "fine_grained_saliency": lambda c: {"saliency": saliency.fine_grained_saliency(c.image.numpy())},
    "saliencymix": lambda c: saliency.saliencymix(c.x, c.perm, c.saliency.numpy(), c.lam),
    "attentivemix": attentivemix,
    "snapmix_cam": lambda c: {
        "spm": saliency.snapmix_cam(c.features, c.label, c.weight, c.bias, (c.height, c.width))
    },
    "snapmix": snapmix,
    "puzzlemix_saliency": lambda c: {"saliency": puzzlemix.saliency_of(c.grad)},
    "puzzlemix_unary": puzzlemix_unary,
    "puzzlemix_mask": puzzlemix_mask,
    "puzzlemix_graphcut": puzzlemix_graphcut,
    "puzzlemix_transport": puzzlemix_transport,
    "puzzlemix": puzzlemix_whole,
    "comixup_compat": lambda c: {"compat": comixup.compatibility(c.saliency, c.omega)},
    "comixup_labels": comixup_labels,
    "comixup_mix": lambda c: comixup.mix(c.mask, c.x, c.target),
    "comixup": comixup_whole,
    "alignmix": lambda c: alignmix.alignmix(c.feat, c.perm, c.lam, c.direction, c.eps, c.max_iter),
    "transmix": lambda c: tokens.transmix(c.attn, c.mask, c.lam, c.ratio, (c.patch_rows, c.patch_cols)),
    "tokenmix": lambda c: tokens.tokenmix(c.x, c.perm, c.token_mask, c.attn, c.params["label"]),
    "smmix": lambda c: tokens.smmix(c.x, c.attn, c.side, c.rect),
    "mixpro": mixpro,
}


def check(folder: Path) -> bool:
    """Prints a line for each operation of the cases in a folder; false if one fails."""
    failures, passed, skipped = [], {}, set()
    for path in sorted(folder.glob("*.safetensors")):
        case = Case(path)
        if case.op not in OPS:
            skipped.add(case.op)
            continue
        fault = case.fault(OPS[case.op](case))
        right, total = passed.get(case.op, (0, 0))
        passed[case.op] = (right + (fault is None), total + 1)
        if fault:
            failures.append(f"{case.name}: {fault}")
    for op, (right, total) in passed.items():
        print(f"{op:24} {right} of {total}")
    for line in failures:
        print(line)
    if skipped:
        print(f"no mixers, left out: {', '.join(sorted(skipped))}")
    right, total = (sum(column) for column in zip(*passed.values())) if passed else (0, 0)
    print(f"{right} of {total} cases")
    return right == total and total > 0
