"""Second derivatives of the score at the target layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camport.core.running.derivative import hessian_products
from camport.core.running.open_attention import AttentionMode
from camport.errors import LayerError

if TYPE_CHECKING:
    from camport.core.probe import Probe


def hessian_product(probe: Probe, vectors: Sequence[Tensor]) -> list[Tensor]:
    """As `Probe.hessian_product`."""
    seen = probe.evaluation
    source = probe.unfused or (probe if seen.has_graph and not probe.shared else probe.at())
    try:
        gradients, products = _curvature(source, vectors)
    except LayerError:
        with AttentionMode(lambda p: p):
            source = probe.unfused = probe.at()
            gradients, products = _curvature(source, vectors)
    seen.derived = seen.derived or gradients
    return [grid.to_maps(h) for h, grid in zip(products, source.evaluation.grids, strict=True)]


def _curvature(probe: Probe, vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients, and Hessian products of these maps, both as the layers put their values out."""
    seen = probe.evaluation
    seen.run()
    pairs = zip(seen.native, seen.grids, vectors, strict=True)
    native = [grid.from_maps(v.to(a.dtype), torch.zeros_like(a)) for a, grid, v in pairs]
    return hessian_products(seen.y, seen.native, native, seen.layer_names())
