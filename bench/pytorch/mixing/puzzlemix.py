"""PuzzleMix: which blocks come from which picture is a minimum cut; then salient blocks move to where they show.

B = `block_num` blocks a side. The cut is gco's alpha-beta swap (`pip install gco-wrapper`), as in published code.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .common import by_mask, resize

try:
    import gco
except ImportError:
    gco = None


@dataclass(frozen=True)
class Settings:
    """The published constants for small pictures."""

    beta: float = 1.2
    gamma: float = 0.5
    eta: float = 0.2
    neigh_size: int = 4
    n_labels: int = 3
    transport: bool = True
    t_eps: float = 0.8
    t_size: int = 4


def saliency_of(grad: Tensor) -> Tensor:
    """[N, H, W] from a gradient at the pictures."""
    return grad.square().mean(dim=1).sqrt()


def normalised(saliency: Tensor, block: int) -> Tensor:
    """The share of each block in a picture's saliency, [N, B, B]."""
    blocks = F.avg_pool2d(saliency[:, None], block)[:, 0]
    return blocks / blocks.sum(dim=(1, 2), keepdim=True)


def unary_terms(
    x: Tensor, saliency: Tensor, perm: Tensor, block_num: int, mean: Tensor, std: Tensor, settings: Settings
) -> dict:
    """What a block costs by itself, and what a pair of neighbours costs that differ."""
    block = x.shape[2] // block_num
    cell = min(settings.neigh_size, block)
    scale = settings.beta / block_num / 16 * settings.gamma
    share = normalised(saliency, block)
    own = F.avg_pool2d(x * std[:, None, None] + mean[:, None, None], cell)
    cells = (own[perm], own)
    v = [[scale * steps(cells[i], cells[j], block // cell) for j in (0, 1)] for i in (0, 1)]
    # Across vertical edges it is the same with rows and columns exchanged.
    turned = [x.mT for x in cells]
    h = [[scale * steps(turned[i], turned[j], block // cell).mT for j in (0, 1)] for i in (0, 1)]
    unary1, unary2 = share.clone(), share[perm]
    for edges, first, second in ((v, np.s_[:, :-1], np.s_[:, 1:]), (h, np.s_[:, :, :-1], np.s_[:, :, 1:])):
        unary1[first] += (edges[0][1] + edges[0][0]) / 2
        unary1[second] += (edges[1][0] + edges[0][0]) / 2
        unary2[first] += (edges[1][0] + edges[1][1]) / 2
        unary2[second] += (edges[0][1] + edges[1][1]) / 2
    return {
        "saliency_norm": share,
        "unary1": unary1,
        "unary2": unary2,
        "pw_v": (v[1][0] + v[0][1] - v[1][1] - v[0][0]) / 2,
        "pw_h": (h[1][0] + h[0][1] - h[1][1] - h[0][0]) / 2,
    }


def steps(above: Tensor, below: Tensor, cells: int) -> Tensor:
    """How far the cells above a horizontal edge of blocks are from those below it, [N, B - 1, B]; a block has
    `cells` cells a side."""
    upper = above[:, :, cells - 1 : -1 : cells]
    lower = below[:, :, cells::cells]
    difference = (upper - lower).abs().mean(dim=1)
    return difference.unflatten(2, (-1, cells)).mean(dim=3)


def cut_costs(terms: dict, lam: float, block_num: int, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """The integers that are cut: unary costs [N, B, B, L], and weights of vertical and horizontal neighbours."""
    labels, big = settings.n_labels, 1000 * block_num**2
    costs = []
    for label in range(labels):
        t = label / (labels - 1)
        likelihood = math.comb(labels - 1, label) * lam ** (labels - 1 - label) * (1.0 - lam) ** label
        prior = -settings.eta * math.log(likelihood + 1e-8) / block_num**2
        costs.append(big * ((1.0 - t) * terms["unary2"].double() + t * terms["unary1"].double() + prior))
    beta = settings.beta / block_num / 16
    weights = [(big * (terms[name] + beta)).long() for name in ("pw_v", "pw_h")]
    return torch.stack(costs, dim=3).long(), *weights


def graph_cut(unary_cost: Tensor, weight_v: Tensor, weight_h: Tensor) -> Tensor:
    """Labels [N, B, B] by alpha-beta swap, one picture after the other."""
    # gco has 32 bits: a block with too much of the saliency would wrap around, as it does in published code.
    unary, vertical, horizontal = (
        (scale * costs.numpy()).astype(np.int32)
        for scale, costs in ((100000, unary_cost), (1000, weight_v), (1000, weight_h))
    )
    distance = label_distance(unary.shape[3]).astype(np.int32)
    labels = [
        gco.cut_grid_graph(unary[i], distance, vertical[i], horizontal[i], n_iter=-1, algorithm="swap")
        for i in range(len(unary))
    ]
    return torch.from_numpy(np.stack(labels)).long().view(unary_cost.shape[:3])


def label_distance(labels: int) -> np.ndarray:
    """What two neighbours with different labels cost, [L, L]."""
    index = np.arange(labels)
    return 100 * (index[:, None] - index[None, :]) ** 2 // (labels - 1) ** 2


def energy(labels: Tensor, unary_cost: Tensor, weight_v: Tensor, weight_h: Tensor) -> Tensor:
    """What a labelling costs, [N]."""
    distance = torch.from_numpy(label_distance(unary_cost.shape[3]))
    own = unary_cost.gather(3, labels[..., None]).sum(dim=(1, 2, 3))
    vertical = (weight_v * distance[labels[:, :-1], labels[:, 1:]]).sum(dim=(1, 2))
    horizontal = (weight_h * distance[labels[:, :, :-1], labels[:, :, 1:]]).sum(dim=(1, 2))
    return 100000 * own + 1000 * (vertical + horizontal)


def block_mask(labels: Tensor, n_labels: int) -> Tensor:
    """[N, 1, B, B]: 1 keeps the sample, 0 takes the partner."""
    return 1.0 - labels[:, None].float() / (n_labels - 1)


def destinations(mask: Tensor, saliency_norm: Tensor, t_eps: float) -> Tensor:
    """Where each block goes, [N, T * T], or -1: salient blocks to near places that the mask shows."""
    side = mask.shape[2]
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    distance = (place[:, None] - place[None, :]).square().sum(dim=2).float() / (side - 1) ** 2
    gain = saliency_norm.flatten(1)[:, :, None] * (mask.flatten(1) > 0).float()[:, None, :]
    cost = t_eps * distance - gain
    offered = torch.empty_like(cost)
    for _ in range(side):
        price, choice = cost.min(dim=2, keepdim=True)
        offered.zero_().scatter_(2, choice, price)
        winner = offered.argmin(dim=1)
        won = winner.gather(1, choice[:, :, 0]) == torch.arange(side**2)
        cost.scatter_add_(2, choice, (~won).float()[:, :, None])
    return torch.where(won, choice[:, :, 0], -1)


def moved(x: Tensor, dest: Tensor) -> Tensor:
    """The pictures with each block at its destination, and nothing where none arrives."""
    count, side = dest.shape[1], math.isqrt(dest.shape[1])
    block = x.shape[2] // side
    blocks = F.unfold(x, block, stride=block)
    places = torch.where(dest < 0, count, dest)[:, None, :].expand_as(blocks)
    arrived = blocks.new_zeros(*blocks.shape[:2], count + 1).scatter_(2, places, blocks)
    return F.fold(arrived[:, :, :count].contiguous(), x.shape[2:], block, stride=block)


def puzzlemix(
    x: Tensor,
    grad: Tensor,
    perm: Tensor,
    lam: float,
    block_num: int,
    mean: Tensor,
    std: Tensor,
    settings: Settings = Settings(),
) -> dict:
    size, block = x.shape[2], x.shape[2] // block_num
    saliency = saliency_of(grad)
    terms = unary_terms(x, saliency, perm, block_num, mean, std, settings)
    labels = graph_cut(*cut_costs(terms, lam, block_num, settings))
    mask = block_mask(labels, settings.n_labels)
    images = (x, x[perm])
    if settings.transport:
        cell = min(settings.t_size, block)
        fine, share = mask, terms["saliency_norm"]
        if 0 < cell < block:
            fine, share = resize(mask, (size // cell,) * 2, "nearest"), normalised(saliency, cell)
        plans = (destinations(m, s, settings.t_eps) for m, s in ((fine, share), (1.0 - fine, share[perm])))
        images = [moved(picture, plan) for picture, plan in zip(images, plans)]
    pixels = resize(mask, (size, size), "nearest")
    mixed = by_mask(images[0], images[1], pixels)
    return {"mixed": mixed, "lam": pixels.mean(dim=(1, 2, 3)), "block_mask": mask}
