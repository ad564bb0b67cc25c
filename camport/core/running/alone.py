"""Whether outputs are of each image, asked where their shape leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.core.running.call_model import called
from camport.errors import CamportError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter


def check_alone(
    adapter: Adapter, double: nn.Module, outputs: Any, images: Tensor, given: Mapping[str, Tensor]
) -> None:
    """Raises as `Adapter.check` of the first image alone,
    where outputs for all have two axes as long as the images'.

    Outputs [t,b,k] or [k,b] look like [b,...] for t or k images, and for one image they do not.
    """
    b = images.shape[0]
    shapes = [
        v.shape for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()
    ]
    if b == 1 or not any(b == shape[0] and b in shape[1:] for shape in shapes if shape):
        return
    target = {name: value[:1] for name, value in given.items()}
    with torch.no_grad():
        try:
            alone = called(adapter, double, images[:1].clone(), target)
        except CamportError:
            return  # a graph with a number of images built in
        adapter.check(alone, target)
