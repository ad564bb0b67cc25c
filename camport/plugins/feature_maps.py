"""Feature maps."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.probe import Probe
from camport.errors import InputError


@dataclass(frozen=True)
class FeatureMaps(Explainer):
    r"""The activations themselves: their mean over channels, or one channel.

    .. math:: L = \frac{1}{c} \sum_k A_k

    Any layer of any model. The channels one by one are `Explanation.activations`.

    Map: [b,h,w] of the layer, signed where the layer is.
    Cost: `1` forward pass.

    Args:
        channel: index of the channel to show; None is the mean over all.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "feature_maps"
    title: ClassVar[str] = "Feature maps"
    paper: ClassVar[str] = "-"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    channel: int | None = None
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """mean_k(A_k), or A_channel."""
        channel = self.channel
        return fuse(
            [a.mean(1) if channel is None else a[:, channel] for a in probe.activations],
            self.fusion,
        )

    def check(self, probe: Probe) -> None:
        """InputError for a channel that a layer does not have."""
        for layer, a in zip(probe.layers, probe.activations, strict=True):
            if self.channel is not None and not 0 <= self.channel < a.shape[1]:
                raise InputError(
                    f"channel {self.channel} is out of range: {layer} has {a.shape[1]}"
                    f" (0..{a.shape[1] - 1})"
                )
