"""What each method draws for a batch, and the call that mixes it: what `mixers.py` times.

Parameters are the defaults of the Rust program. A name is that of a mixer there; where a parameter chooses among ways to
mix that differ in cost, the name has its value too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import alignmix, comixup, handmade, puzzlemix, saliency, tokens
from .common import inside

CLASSES = 100
# Channels of the stages of ResNet-18.
CHANNELS = (64, 128, 256, 512)
# Side of the patches of the vision transformer whose attention is made up here, in pixels.
PATCH = 8


@dataclass(frozen=True)
class Batch:
    """A random batch, and what a network would make of it."""

    x: Tensor
    label: Tensor
    target: Tensor
    mean: Tensor
    std: Tensor
    gradient: Tensor
    features: Tensor
    weight: Tensor
    bias: Tensor
    attention: Tensor
    logits: Tensor
    hidden: list[Tensor]


def make_batch(count: int, size: int) -> Batch:
    torch.manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.rand(shape) * 4.0 - 2.0

    side = torch.arange(size, dtype=torch.float32)
    centers = torch.rand(2, count, 1) * size
    # A loss looks at some place of a picture more than at others.
    rows, columns = torch.exp(-18.0 * ((side - centers) / size).square())
    tokens_and_class = (size // PATCH) ** 2 + 1
    x, label = noise(count, 3, size, size), torch.arange(count) % CLASSES
    return Batch(
        x=x,
        label=label,
        target=torch.nn.functional.one_hot(label, CLASSES).float(),
        mean=torch.full((3,), 0.5),
        std=torch.full((3,), 0.25),
        gradient=noise(count, 3, size, size) * (rows[:, :, None] * columns[:, None, :])[:, None],
        features=noise(count, CHANNELS[3], size // 8, size // 8).relu(),
        weight=noise(CLASSES, CHANNELS[3]),
        bias=noise(CLASSES),
        attention=noise(count, 3, tokens_and_class, tokens_and_class).softmax(dim=3),
        logits=noise(count, CLASSES),
        hidden=[x, *(noise(count, CHANNELS[k], size >> k, size >> k).relu() for k in range(2))],
    )


class Chance:
    """Draws from one seeded generator."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def beta(self, a: float) -> float:
        return float(self.generator.beta(a, a))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.generator.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """One of low, …, high - 1."""
        return int(self.generator.integers(low, high))

    def partners(self, batch: Batch) -> Tensor:
        return torch.from_numpy(self.generator.permutation(len(batch.x)))

    def pixel(self, batch: Batch) -> tuple[int, int]:
        return self.integer(0, batch.x.shape[2]), self.integer(0, batch.x.shape[3])

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.generator.standard_normal(shape, dtype=np.float32))

    def trials(self, share: float, *shape: int) -> Tensor:
        return torch.from_numpy(self.generator.random(shape) < share)


Call = Callable[[], dict]


def mixup(batch: Batch, chance: Chance, a: float = 1.0) -> Call:
    lam, perm = chance.beta(a), chance.partners(batch)
    return lambda: handmade.mixup(batch.x, perm, lam)


def manifoldmix(stage: int) -> Callable[[Batch, Chance], Call]:
    def draw(batch: Batch, chance: Chance) -> Call:
        lam, perm = chance.beta(2.0), chance.partners(batch)
        return lambda: handmade.manifoldmix(batch.hidden[stage], perm, lam)

    return draw


def cutmix(batch: Batch, chance: Chance) -> Call:
    lam, perm, center = chance.beta(1.0), chance.partners(batch), chance.pixel(batch)
    return lambda: handmade.cutmix(batch.x, perm, lam, center)


def switch(batch: Batch, chance: Chance) -> Call:
    return mixup(batch, chance, a=0.8) if chance.uniform() < 0.5 else cutmix(batch, chance)


def cutout(batch: Batch, chance: Chance) -> Call:
    height, width = batch.x.shape[2:]
    center = torch.from_numpy(chance.generator.integers((height, width), size=(len(batch.x), 1, 2)))
    return lambda: handmade.cutout(batch.x, center, 16)


def resizemix(batch: Batch, chance: Chance) -> Call:
    tau, perm, center = chance.uniform(0.1, 0.8), chance.partners(batch), chance.pixel(batch)
    return lambda: handmade.resizemix(batch.x, perm, tau, center)


def fmix(batch: Batch, chance: Chance) -> Call:
    lam, perm = chance.beta(1.0), chance.partners(batch)
    height, width = batch.x.shape[2:]
    noise = chance.normal(height, width // 2 + 1 + width % 2, 2)
    rounding = "ceil" if chance.uniform() < 0.5 else "floor"
    return lambda: handmade.fmix(batch.x, perm, noise, lam, rounding)


def gridmix(batch: Batch, chance: Chance) -> Call:
    lam, perm, holes = chance.beta(1.0), chance.partners(batch), chance.integer(2, 7)
    area, aspect = chance.uniform(0.5, 1.0), chance.uniform(0.5, 2.0)
    place = (chance.uniform(), chance.uniform())
    return lambda: handmade.gridmix(batch.x, perm, lam, holes, 1.0, area, aspect, place)


def smoothmix(batch: Batch, chance: Chance) -> Call:
    perm, size = chance.partners(batch), batch.x.shape[2]
    shift = (chance.integer(-size // 2, size // 2), chance.integer(-size // 2, size // 2))
    sigma = size * chance.uniform(0.25, 0.5)
    return lambda: handmade.smoothmix(batch.x, perm, shift, sigma)


def recursivemix(batch: Batch, chance: Chance) -> Call:
    ratio, center = chance.uniform(0.0, 0.5), chance.pixel(batch)
    return lambda: handmade.recursivemix(batch.x, batch.x, batch.target, batch.target, ratio, center)


def saliencymix(batch: Batch, chance: Chance) -> Call:
    lam, perm = chance.beta(1.0), chance.partners(batch)

    def mix() -> dict:
        picture = saliency.picture_bytes(batch.x[perm[0]], batch.mean, batch.std)
        return saliency.saliencymix(batch.x, perm, saliency.fine_grained_saliency(picture), lam)

    return mix


def attentivemix(batch: Batch, chance: Chance) -> Call:
    lam, perm = chance.beta(2.0), chance.partners(batch)
    return lambda: saliency.attentivemix(batch.x, perm, batch.features, lam)


def saliencygrafting(batch: Batch, chance: Chance) -> Call:
    perm = chance.partners(batch)
    drawn = chance.trials(chance.beta(1.0), len(batch.x), batch.features[0, 0].numel())
    return lambda: saliency.saliencygrafting(batch.x, perm, batch.features, drawn)


def snapmix(batch: Batch, chance: Chance) -> Call:
    lams, perm = (chance.beta(5.0), chance.beta(5.0)), chance.partners(batch)
    centers = (chance.pixel(batch), chance.pixel(batch))

    def mix() -> dict:
        size = tuple(batch.x.shape[2:])
        spm = saliency.snapmix_cam(batch.features, batch.label, batch.weight, batch.bias, size)
        return saliency.snapmix(batch.x, perm, batch.label, spm, lams, centers)

    return mix


def puzzle(blocks: int) -> Callable[[Batch, Chance], Call]:
    def draw(batch: Batch, chance: Chance) -> Call:
        lam, perm = chance.beta(1.0), chance.partners(batch)
        return lambda: puzzlemix.puzzlemix(
            batch.x, batch.gradient, perm, lam, blocks, batch.mean, batch.std
        )

    return draw


def co(batch: Batch, chance: Chance, partition: int = 20, blocks: int = 4) -> Call:
    parts = [slice(start, start + partition) for start in range(0, len(batch.x), partition)]
    counts = [len(batch.x[part]) for part in parts]
    alphas = [torch.from_numpy(chance.generator.dirichlet([2.0] * n).astype(np.float32)) for n in counts]
    inits = [torch.from_numpy(chance.generator.integers(n, size=(n, blocks, blocks))) for n in counts]

    def mix() -> dict:
        maps = puzzlemix.saliency_of(batch.gradient)
        drawn = zip(parts, alphas, inits)
        mixes = [comixup.comixup(batch.x[p], maps[p], batch.target[p], a, i, blocks) for p, a, i in drawn]
        return {name: torch.cat([mix[name] for mix in mixes]) for name in ("mixed", "target")}

    return mix


def align(batch: Batch, chance: Chance) -> Call:
    lam, perm, direction = chance.beta(2.0), chance.partners(batch), chance.integer(0, 2)
    return lambda: alignmix.alignmix(batch.features, perm, lam, direction)


def transmix(batch: Batch, chance: Chance) -> Call:
    lam, perm, center = chance.beta(1.0), chance.partners(batch), chance.pixel(batch)
    side = batch.x.shape[2] // PATCH

    def mix() -> dict:
        mixed = handmade.cutmix(batch.x, perm, lam, center)
        mask = torch.zeros(1, 1, *batch.x.shape[2:])
        inside(mask, mixed["box"]).fill_(1.0)
        return mixed | tokens.transmix(batch.attention, mask, mixed["lam"], 0.0, (side, side))

    return mix


def tokenmix(batch: Batch, chance: Chance) -> Call:
    perm, side = chance.partners(batch), batch.x.shape[2] // PATCH
    # The published sampler draws blocks; what mixing costs doesn't depend on where the tokens are.
    mask = chance.trials(1.0 - chance.beta(1.0), side, side).float()
    return lambda: tokens.tokenmix(batch.x, perm, mask, batch.attention)


def smmix(batch: Batch, chance: Chance) -> Call:
    side = batch.x.shape[2] // PATCH
    rect = chance.integer(int(0.25 * side), int(0.75 * side) + 1)
    return lambda: tokens.smmix(batch.x, batch.attention, side, rect)


def mixpro(batch: Batch, chance: Chance) -> Call:
    perm, cells = chance.partners(batch), batch.x.shape[2] // (2 * PATCH)
    kept = int(np.ceil(chance.beta(1.0) * cells**2))
    places = chance.generator.random((len(batch.x), cells**2)).argsort(axis=1)
    mask = torch.from_numpy((places < kept).astype(np.float32)).view(-1, cells, cells)
    return lambda: tokens.mixpro(
        batch.x, perm, mask, batch.attention, batch.logits, batch.label, 2 * PATCH, PATCH, CLASSES, 0.0
    )


PEERS: dict[str, Callable[[Batch, Chance], Call]] = {
    "mixup": mixup,
    **{f"manifoldmix stages=[{stage}]": manifoldmix(stage) for stage in range(3)},
    "cutmix": cutmix,
    "switch": switch,
    "cutout": cutout,
    "resizemix": resizemix,
    "fmix": fmix,
    "gridmix": gridmix,
    "smoothmix": smoothmix,
    "recursivemix": recursivemix,
    "saliencymix": saliencymix,
    "attentivemix": attentivemix,
    "saliencygrafting": saliencygrafting,
    "snapmix": snapmix,
    **{f"puzzlemix block_counts=[{blocks}]": puzzle(blocks) for blocks in (2, 4, 8, 16)},
    "comixup": co,
    "alignmix manifold_probability=0": align,
    "transmix": transmix,
    f"tokenmix patch={PATCH}": tokenmix,
    "smmix": smmix,
    f"mixpro mask_patch={2 * PATCH}": mixpro,
}
if puzzlemix.gco is None:
    PEERS = {name: peer for name, peer in PEERS.items() if not name.startswith(("puzzlemix", "comixup"))}
