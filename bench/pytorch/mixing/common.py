"""What several methods share: boxes, weights, attention of the class token."""

import torch
from torch import Tensor
from torch.nn import functional as F

Box = tuple[int, int, int, int]


def centred_box(size: tuple[int, int], sides: tuple[int, int], center: tuple[int, int]) -> Box:
    """The box of `sides` around `center`, cut at the border; half a side is rounded down."""
    rows = [min(max(center[0] + half, 0), size[0]) for half in (-(sides[0] // 2), sides[0] // 2)]
    columns = [min(max(center[1] + half, 0), size[1]) for half in (-(sides[1] // 2), sides[1] // 2)]
    return rows[0], columns[0], rows[1], columns[1]


def scaled_box(size: tuple[int, int], share: float, center: tuple[int, int]) -> Box:
    """The box whose sides are `share` of the picture's."""
    return centred_box(size, (int(size[0] * share), int(size[1] * share)), center)


def area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def weight_outside(size: tuple[int, int], box: Box) -> float:
    return 1.0 - area(box) / (size[0] * size[1])


def inside(x: Tensor, box: Box) -> Tensor:
    return x[..., box[0] : box[2], box[1] : box[3]]


def paste(x: Tensor, patch: Tensor, box: Box) -> Tensor:
    """A copy of `x` with `patch` in the box."""
    mixed = x.clone()
    inside(mixed, box).copy_(patch)
    return mixed


def resize(x: Tensor, sides: tuple[int, int], mode: str, align_corners: bool | None = None) -> Tensor:
    return F.interpolate(x, size=sides, mode=mode, align_corners=None if mode == "nearest" else align_corners)


def paste_resized(x: Tensor, source: Tensor, box: Box, mode: str, align_corners: bool) -> Tensor:
    """A copy of `x` with `source`, as small as the box, in the box."""
    if area(box) == 0:
        return x
    return paste(x, resize(source, (box[2] - box[0], box[3] - box[1]), mode, align_corners), box)


def by_mask(x: Tensor, partner: Tensor, mask: Tensor) -> Tensor:
    """`mask x + (1 - mask) partner`"""
    return torch.lerp(partner, x, mask)


def class_attention(attention: Tensor) -> Tensor:
    """What the class token attends to, [N, T], the mean over heads of attention [N, heads, T + 1, T + 1]."""
    return attention[:, :, 0, 1:].mean(dim=1)
