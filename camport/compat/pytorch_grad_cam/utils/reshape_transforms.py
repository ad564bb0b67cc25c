"""How a transformer's tokens lie on the image; camport reads it from the model,
so that these may be left out."""

from torch import Tensor


def vit_reshape_transform(tensor: Tensor, height: int = 14, width: int = 14) -> Tensor:
    """Tokens [b,1+h*w,c] of a vision transformer, without its class token, as [b,c,h,w]."""
    return swinT_reshape_transform(tensor[:, 1:], height, width)


def swinT_reshape_transform(tensor: Tensor, height: int = 7, width: int = 7) -> Tensor:
    """Tokens [b,h*w,c] as [b,c,h,w]."""
    return tensor.unflatten(1, (height, width)).permute(0, 3, 1, 2)
