"""AlignMix: feature maps are brought into line by optimal transport before they are mixed."""

import math

import torch
from torch import Tensor


def alignmix(
    feat: Tensor, perm: Tensor, lam: float, direction: int, eps: float = 0.1, max_iter: int = 100
) -> dict:
    columns = feat.flatten(2)
    partner = columns[perm]
    plan, iterations = sinkhorn(columns.mT, partner.mT, eps, max_iter)
    transport = plan * plan.shape[1]
    if direction == 0:
        mixed = torch.lerp(partner @ transport.mT, columns, lam)
    else:
        mixed = torch.lerp(partner, columns @ transport, lam)
    return {"mixed": mixed.view_as(feat), "lam": lam, "plan": plan, "iterations": torch.tensor([iterations])}


def sinkhorn(x: Tensor, y: Tensor, eps: float, max_iter: int) -> tuple[Tensor, int]:
    """The plan [N, n, n] between points [N, n, C] of equal weight, and how many iterations it took."""
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    u, v = cost.new_zeros(cost.shape[:2]), cost.new_zeros(cost.shape[:2])
    weight = math.log(1.0 / cost.shape[1] + 1e-8)

    def exponent() -> Tensor:
        return (u[:, :, None] + v[:, None, :] - cost) / eps

    for iteration in range(1, max_iter + 1):
        before = u
        u = eps * (weight - exponent().logsumexp(dim=2)) + u
        v = eps * (weight - exponent().logsumexp(dim=1)) + v
        if (u - before).abs().sum(dim=1).mean() < 0.1:
            break
    return exponent().exp(), iteration
