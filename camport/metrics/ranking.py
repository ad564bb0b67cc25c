"""Pixels in the order of a heatmap, and images of which the first of them are changed."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def ranks(heatmap: Float[Tensor, "b H W"]) -> Int64[Tensor, "b H W"]:
    """The place of each pixel, 0 for the largest value; equal values in reading order."""
    order = heatmap.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).unflatten(1, heatmap.shape[1:])


def first(ranks: Int64[Tensor, "b H W"], counts: Int64[Tensor, " m"]) -> Bool[Tensor, "m b 1 H W"]:
    """The first pixels of each image, as many as each of the counts says."""
    return (ranks < counts[:, None, None, None])[:, :, None]


def shares(steps: int, pixels: int, device: torch.device) -> Int64[Tensor, " n"]:
    """0, ..., `pixels` in equal steps, rounded; no more steps than pixels."""
    steps = min(steps, pixels)
    return (torch.arange(steps + 1, device=device) * pixels + steps // 2) // steps


def area(curve: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """The area under a curve over [0,1], by the trapezoid rule."""
    return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2
