"""Depth: which pixels a network reads to say how far a region is.

A complete camport plugin that adds a task, for networks that return a map of depths or disparities [b,h,w] or
[b,1,h,w] (MiDaS, 1907.01341; Depth Anything, 2401.10891). The score is the mean over a region R of the picture:

    y^c = 1/|R| sum_ij R_ij D_ij
"""

import torch
import torch.nn.functional as F

import camport
from camport.errors import ModelError


class DepthAdapter(camport.Adapter):
    """Explains the mean depth of a box, xyxy in pixels of the network; of the whole image where none is given."""

    name, title = "depth", "How far a region is, by a depth network"
    fields = (camport.Field("region", "box", "the whole picture if left out", default=(0, 0, 0, 0)),)

    def call(self, model, images):
        """The depths [b,H,W] at the images' size, whatever the network's own."""
        depths = model(images)
        depths = getattr(depths, "predicted_depth", depths)
        if (
            not isinstance(depths, torch.Tensor)
            or depths.dim() not in (3, 4)
            or (depths.dim() == 4 and depths.shape[1] != 1)
        ):
            raise ModelError("the depth adapter reads one tensor [b,h,w] or [b,1,h,w], a map of depths")
        depths = depths if depths.dim() == 4 else depths[:, None]
        return F.interpolate(depths, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]

    def check(self, outputs, target):
        """Depths are checked where the network is called, and a box is any; never traced."""

    def score(self, outputs, target):
        """The mean depth of the pixels whose centres lie in the region, [b]."""
        inside = self._inside(outputs, *target["region"].to(outputs.dtype).unbind(1))
        return (outputs * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)

    def _inside(self, outputs, left, top, right, bottom):
        rows = torch.arange(outputs.shape[1], device=outputs.device) + 0.5
        columns = torch.arange(outputs.shape[2], device=outputs.device) + 0.5
        within = (rows >= top[:, None]) & (rows <= bottom[:, None])
        beside = (columns >= left[:, None]) & (columns <= right[:, None])
        whole = (right <= left) | (bottom <= top)
        return ((within[:, :, None] & beside[:, None]) | whole[:, None, None]).to(outputs.dtype)


@camport.hookimpl
def camport_adapters():
    return [DepthAdapter]
