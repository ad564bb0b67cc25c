"""Keypoints: which pixels a pose network reads to place one joint.

A complete camport plugin that adds an adapter, for networks that return a map of confidences [b,k,h,w], one for each of
k keypoints (stacked hourglass, 1603.06937; HRNet, 1902.09212). The keypoint lies where its map is highest:

    y^c = max_ij H_cij
"""

import torch

import camport
from camport.errors import InputError, ModelError


class KeypointAdapter(camport.Adapter):
    """Explains one keypoint: its number, int64 [b] for one an image, or None for the surest of each image."""

    name, title = "keypoints", "One keypoint of a pose network"
    # with this name it is an input of the exported file, and `--target keypoint=9` of the command line
    fields = (camport.Field("keypoint", "integer", "0 and up, -1 the surest", default=-1, least=-1),)

    def check(self, outputs, target):
        """Refuses outputs that are no maps, and unknown keypoints. Never traced: it may look at values."""
        if not isinstance(outputs, torch.Tensor) or outputs.dim() != 4:
            raise ModelError("the keypoint adapter reads one tensor [b,k,h,w], a map of confidences for each keypoint")
        if int(target["keypoint"].max()) >= outputs.shape[1]:
            raise InputError(f"keypoint {int(target['keypoint'].max())} of {outputs.shape[1]} (0 and up)")

    def resolve(self, outputs, target):
        """-1 becomes the keypoint with the highest peak. Traced for export: tensors alone decide."""
        return {"keypoint": torch.where(target["keypoint"] < 0, _peaks(outputs).argmax(1), target["keypoint"])}

    def score(self, outputs, target):
        """y^c [b]; a one-hot product, whose gradient exports as a product."""
        peaks = _peaks(outputs)
        numbers = torch.arange(peaks.shape[1], device=peaks.device)
        return (peaks * (numbers == target["keypoint"][:, None])).sum(1)

    def sample(self, outputs, batch, generator):
        """Targets by which an exported file is compared with PyTorch."""
        return {"keypoint": torch.randint(-1, outputs.shape[1], (batch,), generator=generator)}


def _peaks(outputs):
    return outputs.flatten(2).amax(2)


@camport.hookimpl
def camport_adapters():
    return [KeypointAdapter]
