"""Co-Mixup: a batch of n pictures becomes o mixes at once, salient, smooth and different from each other.

b blocks a side. The cut is gco's alpha-beta swap, as in `puzzlemix`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .common import resize
from .puzzlemix import gco, normalised


@dataclass(frozen=True)
class Settings:
    """The authors' constants."""

    beta: float = 0.32
    gamma: float = 1.0
    eta: float = 0.05
    thres: float = 0.83
    thres_type: str = "hard"
    set_resolve: bool = True
    niter: int = 4
    omega: float = 0.001


def compatibility(saliency: Tensor, omega: float) -> Tensor:
    """[n, n]: how far apart the pictures' most salient windows are, and 1 on the diagonal."""
    windows = F.avg_pool2d(saliency[:, None], 8, stride=1)
    place = windows.flatten(1).argmax(dim=1)
    place = torch.stack((place // windows.shape[3], place % windows.shape[3]), dim=1)
    distance = (place[:, None] - place[None, :]).abs().sum(dim=2).float()
    count = len(saliency)
    return (1.0 - omega) * torch.eye(count) + omega * count * distance / distance.sum()


@dataclass
class Labelling:
    """The mixes so far, `mask` [o, b, b, n], and what they are judged by."""

    cost: np.ndarray
    compat: np.ndarray
    mask: np.ndarray
    beta: float
    gamma: float
    threshold: float
    hard: bool

    def counts(self) -> np.ndarray:
        """How many blocks each mix takes of each picture, [o, n]."""
        return self.mask.sum(axis=(1, 2))

    def crowding(self, totals: np.ndarray) -> np.ndarray:
        """What taking a block of each picture costs, where the other mixes hold `totals` blocks of them."""
        load = self.compat @ totals
        if self.hard:
            # The switch acts on columns, by the precedence of operators in published code.
            return 2 * self.gamma * (self.compat * (load > self.threshold)[None, :]) @ totals
        return 2 * self.gamma * (load > self.threshold) * (load - self.threshold)

    def objective(self) -> float:
        mask, counts = self.mask, self.counts()
        rough = sum(np.square(np.diff(mask, axis=axis)).sum() for axis in (1, 2))
        crowd = np.square(counts.sum(axis=0)).sum() - np.square(counts).sum()
        return float((self.cost * mask).sum() + self.beta / 2 * rough + self.gamma * crowd)


def label(cost: Tensor, compat: Tensor, alpha: Tensor, init: Tensor, settings: Settings) -> tuple[Tensor, int]:
    """Masks [o, b, b, n] and the number of rounds, from minus the saliency [n, b, b] and random labels [o, b, b]."""
    count, blocks = len(cost), cost.shape[1] ** 2
    prior = settings.eta / blocks * np.log(alpha.numpy() + np.float32(1e-8))
    state = Labelling(
        # gco reads memory as it lies.
        cost=np.ascontiguousarray(cost.permute(1, 2, 0).numpy() - prior, np.float32),
        compat=compat.numpy(),
        mask=np.eye(count, dtype=np.float32)[init.numpy()],
        beta=settings.beta / blocks,
        gamma=settings.gamma / blocks,
        threshold=settings.thres * blocks,
        hard=settings.thres_type == "hard",
    )
    extra = np.zeros((len(init), count), np.float32)
    before = None
    for iteration in range(settings.niter):
        totals = state.counts().sum(axis=0)
        for i in range(len(init)):
            counts = state.mask[i].sum(axis=(0, 1))
            totals = totals - counts
            prices = state.cost + state.crowding(totals) + state.gamma * extra[i]
            halves = half_labels(counts) if iteration > 0 else []
            state.mask[i] = cut(prices.astype(np.float32), halves, state.beta)
            totals = totals + state.mask[i].sum(axis=(0, 1))
        if settings.set_resolve and iteration == settings.niter - 2:
            extra = separation(state.counts())
        value = state.objective()
        if before is not None and abs(value - before) < 1e-6 * abs(value):
            break
        before = value
    return torch.from_numpy(state.mask), iteration + 1


def half_labels(counts: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of pictures that a block may be half and half of."""
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return []
    p = sorted(used) if len(used) == 2 else sorted(np.argsort(-counts, kind="stable")[:3])
    return [(p[i], p[j]) for i in range(len(p)) for j in range(i + 1, len(p))]


def cut(prices: np.ndarray, halves: list[tuple[int, int]], beta: float) -> np.ndarray:
    """The mask [b, b, n] of one mix from the price of each label in each block."""
    count = prices.shape[2]
    shares = np.eye(count, dtype=np.float32)
    for p, q in halves:
        mean = (prices[:, :, p] + prices[:, :, q]) / 2 - np.float32(5e-4)
        prices = np.concatenate((prices, mean[:, :, None]), axis=2)
        shares = np.concatenate((shares, (shares[p] + shares[q])[None] / 2))
    distance = np.ones((len(shares), len(shares)), np.float32) - np.eye(len(shares), dtype=np.float32)
    for index, (p, q) in enumerate(halves, start=count):
        distance[index, [p, q]] = distance[[p, q], index] = 0.25
    side = prices.shape[0]
    vertical = np.full((side - 1, side), beta, np.float32)
    labels = gco.cut_grid_graph(prices, distance, vertical, vertical.T, n_iter=-1, algorithm="swap")
    return shares[labels].reshape(side, side, count)


def separation(counts: np.ndarray) -> np.ndarray:
    """[o, n]: mixes of the same set of pictures are pushed to different ones of it."""
    extra = np.zeros_like(counts)
    used = [np.flatnonzero(row) for row in counts]
    for i, first in enumerate(used):
        for j in range(i + 1, len(used)):
            if len(first) > 1 and np.array_equal(first, used[j]):
                extra[i, first[0]] = extra[j, first[1]] = 1
    return extra


def mix(mask: Tensor, x: Tensor, target: Tensor) -> dict:
    """The mixes [o, C, S, S] and their targets [o, K]."""
    pixels = resize(mask.permute(0, 3, 1, 2), tuple(x.shape[2:]), "nearest")
    mixed = torch.einsum("onhw,nchw->ochw", pixels, x)
    targets = mask.sum(dim=(1, 2)) @ target
    return {"mixed": mixed, "target": targets / targets.sum(dim=1, keepdim=True)}


def comixup(
    x: Tensor,
    saliency: Tensor,
    target: Tensor,
    alpha: Tensor,
    init: Tensor,
    block_num: int = 4,
    settings: Settings = Settings(),
) -> dict:
    cost = -normalised(saliency, x.shape[2] // block_num)
    mask, _ = label(cost, compatibility(saliency, settings.omega), alpha, init, settings)
    return {"mask": mask, **mix(mask, x, target)}
