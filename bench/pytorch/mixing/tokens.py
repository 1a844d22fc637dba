"""Label rules for vision transformers; `attn` [N, heads, T + 1, T + 1] is their last attention map."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .common import by_mask, class_attention, resize


def transmix(attn: Tensor, mask: Tensor, lam: float, ratio: float, patches: tuple[int, int]) -> dict:
    """Weights by the attention of the mixed pictures; `mask` [1, 1, H, W] is 1 where the partner was pasted."""
    own = 1.0 - resize(mask, patches, "nearest").flatten()
    attention = class_attention(attn)
    return {"lam": ratio * lam + (1.0 - ratio) * (attention @ own) / attention.sum(dim=1)}


def tokenmix(x: Tensor, perm: Tensor, token_mask: Tensor, attn: Tensor, label: str = "paper") -> dict:
    """`token_mask` [g, g] is 1 where the partner goes; attention is that of the clean pictures."""
    mask = resize(token_mask[None, None], tuple(x.shape[2:]), "nearest")
    attention = class_attention(attn)
    partners = token_mask.flatten() if label == "paper" else 1.0 - token_mask.flatten()
    return {
        "mixed": by_mask(x[perm], x, mask),
        "lam_a": attention @ (1.0 - partners),
        "lam_b": attention[perm] @ partners,
    }


def smmix(x: Tensor, attn: Tensor, side: int, rect: int) -> dict:
    """The partner's most attended square of tokens replaces the sample's least attended one."""
    patch = x.shape[2] // side
    attention = class_attention(attn).view(-1, 1, side, side)
    sums = F.avg_pool2d(attention, rect, stride=1).flatten(1)
    target, source = sums.argmin(dim=1), sums.argmax(dim=1)
    steps = side - rect + 1
    span = torch.arange(rect * patch)

    def pixels(index: Tensor) -> tuple[Tensor, Tensor]:
        corner = torch.stack((index // steps, index % steps)) * patch
        return (corner[0, :, None] + span)[:, None, :, None], (corner[1, :, None] + span)[:, None, None, :]

    samples = torch.arange(len(x))[:, None, None, None]
    channels = torch.arange(x.shape[1])[None, :, None, None]
    partner = samples.flip(0)
    mixed = x.clone()
    mixed[samples, channels, *pixels(target)] = x[partner, channels, *pixels(source[partner.flatten()])]
    source_mask = x.new_zeros(len(x), 1, *x.shape[2:])
    source_mask[samples, 0, *pixels(target)] = 1.0
    return {
        "mixed": mixed,
        "lam": (side**2 - rect**2) / side**2,
        "target_index": target,
        "source_index": source,
        "source_mask": source_mask,
    }


def mixpro(
    x: Tensor,
    perm: Tensor,
    token_mask: Tensor,
    attn: Tensor,
    logits: Tensor,
    label: Tensor,
    mask_patch_size: int,
    model_patch_size: int,
    num_classes: int,
    smoothing: float,
) -> dict:
    """`token_mask` [N, m, m] is 1 where the sample stays; `logits` are those of the mixed pictures."""

    def enlarged(times: int, size: tuple[int, int]) -> Tensor:
        mask = token_mask.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
        return mask[:, : size[0], : size[1]]

    mask = enlarged(mask_patch_size, tuple(x.shape[2:]))[:, None]
    side = x.shape[2] // model_patch_size, x.shape[3] // model_patch_size
    tokens = enlarged(mask_patch_size // model_patch_size, side).flatten(1)
    attention = class_attention(attn)
    lam_area = token_mask.mean(dim=(1, 2))
    lam_attn = (tokens * attention).sum(dim=1) / attention.sum(dim=1)
    one_hot = F.one_hot(label, num_classes) * (1.0 - smoothing) + smoothing / num_classes
    target = torch.lerp(one_hot[perm], one_hot, lam_area[:, None])
    closeness = F.cosine_similarity(target, logits.softmax(dim=1), dim=1)
    lam = torch.lerp(lam_area, lam_attn, closeness)
    return {"mixed": by_mask(x, x[perm], mask), "lam": lam, "lam_area": lam_area, "lam_attn": lam_attn}
