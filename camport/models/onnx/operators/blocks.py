"""Blocks of pixels moved into channels and back."""

from torch import Tensor

from camport.models.onnx.registry import operator


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """[b, r·r·c, h, w] as [b, c, h·r, w·r]; DCR has the block as the outer channels,
    CRD as the inner ones."""
    b, channels, h, w = x.shape
    r, c = blocksize, channels // (blocksize * blocksize)
    if mode == "CRD":
        return x.reshape(b, c, r, r, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c, h * r, w * r)
    return x.reshape(b, r, r, c, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, c, h * r, w * r)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """[b, c, h·r, w·r] as [b, r·r·c, h, w]."""
    b, c, height, width = x.shape
    r = blocksize
    h, w = height // r, width // r
    return x.reshape(b, c, h, r, w, r).permute(0, 3, 5, 1, 2, 4).reshape(b, c * r * r, h, w)
