"""Where a cell of a map lies, as numbers beside what is there:
words such as "left of" are about places."""

import torch
from jaxtyping import Float
from torch import Tensor


def with_places(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
    """The maps with two channels more: y and x, from -1 to 1."""
    b, _, h, w = maps.shape
    y = (torch.arange(h, device=maps.device, dtype=maps.dtype) * 2 + 1) / h - 1
    x = (torch.arange(w, device=maps.device, dtype=maps.dtype) * 2 + 1) / w - 1
    return torch.cat(
        [
            maps,
            y[None, None, :, None].expand(b, 1, h, w),
            x[None, None, None, :].expand(b, 1, h, w),
        ],
        1,
    )


def moments(found: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k5"]:
    """Of each map the means of 1, y, x, y^2 and x^2, weighted by it: how much there is, where,
    and how far apart."""
    y, x = with_places(found)[:, -2:].unbind(1)
    return torch.cat(
        [(found * w[:, None]).mean((2, 3)) for w in (torch.ones_like(x), y, x, y * y, x * x)], 1
    )
