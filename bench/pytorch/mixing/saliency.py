"""Methods that are led by saliency or by the features of a network."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .common import Box, area, by_mask, inside, paste, resize, scaled_box, weight_outside
from .handmade import cutmix

try:
    import cv2

    OPENCV = cv2.saliency.StaticSaliencyFineGrained_create()
except (ImportError, AttributeError):
    OPENCV = None


def fine_grained_saliency(image: np.ndarray) -> np.ndarray:
    """The saliency [H, W] of a picture [H, W, 3], both bytes: OpenCV's where the contrib modules are installed."""
    if OPENCV is None:
        return montabone(image)
    _, saliency = OPENCV.computeSaliency(image)
    # The map comes back as f32 from 0 to 1, and as NaN for a picture of one colour.
    return np.rint(255.0 * np.nan_to_num(saliency)).astype(np.uint8)


def montabone(image: np.ndarray) -> np.ndarray:
    """Montabone and Soto's saliency with OpenCV's rounding: differences between a pixel and windows around it."""
    grey = (image.astype(np.int64) @ np.array([3735, 19235, 9798]) + 16384) >> 15
    for _ in range(2):
        padded = np.pad(grey, 1, mode="reflect")
        rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        grey = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) >> 4
    height, width = grey.shape
    integral = np.zeros((height + 1, width + 1), np.float32)
    integral[1:, 1:] = grey.cumsum(axis=0).cumsum(axis=1)
    values = grey.astype(np.float32)
    on, off = np.zeros_like(grey), np.zeros_like(grey)
    for side in (12, 24, 48, 28, 56, 112):
        top, bottom = (np.clip(np.arange(height) + d, 0, height)[:, None] for d in (1 - side, 1 + side))
        left, right = (np.clip(np.arange(width) + d, 0, width)[None, :] for d in (1 - side, 1 + side))
        window = integral[bottom, right] - integral[bottom, left] - integral[top, right] + integral[top, left]
        mean = (window - values) / ((right - left) * (bottom - top) - 1).astype(np.float32)
        on += np.maximum(values - mean, 0).astype(np.int64)
        off += np.maximum(mean - values, 0).astype(np.int64)
    if on.max() == 0 or off.max() == 0:
        return np.zeros((height, width), np.uint8)
    scaled = [
        (255.0 * (side.astype(np.float32) / np.float32(side.max())).astype(np.float64)).astype(np.int64)
        for side in (on, off)
    ]
    largest = max(side.max() for side in scaled)
    return (255.0 * (scaled[0] + scaled[1]) / largest).astype(np.int64).astype(np.uint8)


def saliencymix(x: Tensor, perm: Tensor, saliency: np.ndarray, lam: float) -> dict:
    """CutMix around the most salient pixel of the picture `x[perm[0]]`, whose map is `saliency` [H, W]."""
    row, column = np.unravel_index(saliency.argmax(), saliency.shape)
    return cutmix(x, perm, lam, (int(row), int(column)))


def picture_bytes(x: Tensor, mean: Tensor, std: Tensor) -> np.ndarray:
    """A normalised picture [3, H, W] as bytes [H, W, 3]."""
    picture = (x * std[:, None, None] + mean[:, None, None]).mul(255.0).round().clamp(0.0, 255.0)
    return picture.byte().permute(1, 2, 0).contiguous().numpy()


def attentivemix(
    x: Tensor, perm: Tensor, features: Tensor, lam: float | None = None, top_k: int | None = None
) -> dict:
    """The cells of the largest mean features stay: `top_k` of them, or as many as `lam` says."""
    cells = features.mean(dim=1).flatten(1)
    if top_k is None:
        top_k = min(max(1, int(cells.shape[1] * lam)), cells.shape[1])
    mask = torch.zeros_like(cells).scatter_(1, cells.topk(top_k, dim=1).indices, 1.0)
    mask = resize(mask.view(-1, 1, *features.shape[2:]), tuple(x.shape[2:]), "nearest")
    return {"mixed": by_mask(x, x[perm], mask), "lam": mask[0].mean(), "mask": mask}


def snapmix_cam(
    features: Tensor, label: Tensor, weight: Tensor, bias: Tensor, size: tuple[int, int]
) -> Tensor:
    """The label's activation map [N, H, W], which sums to 1."""
    cam = torch.einsum("nchw,nc->nhw", features.relu(), weight[label]) + bias[label, None, None]
    cam = resize(cam[:, None], size, "bilinear", align_corners=False)[:, 0]
    cam = cam - cam.amin(dim=(1, 2), keepdim=True)
    return cam / cam.sum(dim=(1, 2), keepdim=True)


def snapmix(
    x: Tensor,
    perm: Tensor,
    label: Tensor,
    spm: Tensor,
    lams: tuple[float, float],
    centers: tuple[tuple[int, int], tuple[int, int]],
) -> dict:
    """The partner's box B goes into the box A; labels weigh what the maps `spm` say the boxes hold."""
    size = tuple(x.shape[2:])
    box_a, box_b = (scaled_box(size, math.sqrt(1.0 - lam), center) for lam, center in zip(lams, centers))
    boxes = {"box_a": box_a, "box_b": box_b}
    if area(box_a) == 0 or area(box_b) == 0:
        return {"mixed": x, "lam_a": torch.ones(len(x)), "lam_b": torch.zeros(len(x)), **boxes}
    sides = (box_a[2] - box_a[0], box_a[3] - box_a[1])
    patch = resize(inside(x, box_b), sides, "bilinear", align_corners=True)
    weight_a, weight_b = 1.0 - share(spm, box_a), share(spm, box_b)[perm]
    outside = weight_outside(size, box_a)
    both = weight_a + weight_b
    same = label == label[perm]
    lam_a = torch.where(same, both, weight_a).nan_to_num(nan=outside)
    lam_b = torch.where(same, both, weight_b).nan_to_num(nan=1.0 - outside)
    mixed = paste(x, patch[perm], box_a)
    return {"mixed": mixed, "lam_a": lam_a, "lam_b": lam_b, **boxes}


def share(maps: Tensor, box: Box) -> Tensor:
    """What part of each map [N, H, W] lies in the box."""
    return inside(maps, box).sum(dim=(1, 2)) / (maps.sum(dim=(1, 2)) + 1e-8)


def saliencygrafting(
    x: Tensor,
    perm: Tensor,
    features: Tensor,
    drawn: Tensor,
    temperature: float = 0.2,
    threshold: float = 1.0,
) -> dict:
    """Salient cells of the partner, where `drawn` [N, h * w] says so, go into the sample."""
    cells = features.abs().sum(dim=1).flatten(1)
    power = (cells / cells.amax(dim=1, keepdim=True) / temperature).softmax(dim=1)
    grafted = (power > threshold * power.mean(dim=1, keepdim=True))[perm] & drawn
    kept = (cells * ~grafted).norm(dim=1) / cells.norm(dim=1)
    added = (cells[perm] * grafted).norm(dim=1) / cells[perm].norm(dim=1)
    mask = resize((~grafted).float().view(-1, 1, *features.shape[2:]), tuple(x.shape[2:]), "nearest")
    return {"mixed": by_mask(x, x[perm], mask), "lam": kept / (kept + added), "mask": mask}
