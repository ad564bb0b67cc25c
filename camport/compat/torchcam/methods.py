"""torchcam's extractors by their names."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport import plugins
from camport.compat.torchcam.extractor import Extractor, largest
from camport.core import Explainer, minmax, upsample
from camport.errors import InputError, MethodError


class CAM(Extractor):
    """`cam`; the head is read from the model, so that `fc_layer` is not needed."""

    explainer, positive = plugins.CAM, False

    def __init__(
        self, model: nn.Module, target_layer: Any = None, fc_layer: Any = None, **options: Any
    ) -> None:
        super().__init__(model, target_layer, **options)


class GradCAM(Extractor):
    """`gradcam`."""

    explainer = plugins.GradCAM


class GradCAMpp(Extractor):
    """`gradcam++` by the paper; in torchcam a division is lost, which is `preset="torchcam"`."""

    explainer = plugins.GradCAMPlusPlus


class SmoothGradCAMpp(Extractor):
    """`smoothgradcam++` by the paper, noise as a share of the image's range."""

    explainer = plugins.SmoothGradCAMPlusPlus
    renamed = {"num_samples": "samples", "std": "noise"}  # noqa: RUF012


class XGradCAM(Extractor):
    """`xgradcam`."""

    explainer = plugins.XGradCAM


class LayerCAM(Extractor):
    """`layercam`; maps of several layers are fused after tanh(2 m)."""

    explainer = plugins.LayerCAM

    @staticmethod
    def _scaled(cam: Tensor) -> Tensor:
        return torch.tanh(2 * cam)


class ScoreCAM(Extractor):
    """`scorecam` by the paper; torchcam's own masks and weights are `preset="torchcam"`."""

    explainer: ClassVar[type[Explainer]] = plugins.ScoreCAM

    def __init__(
        self, model: nn.Module, target_layer: Any = None, batch_size: int = 32, **options: Any
    ) -> None:
        super().__init__(model, target_layer, batch_size=batch_size, **options)


class SSCAM(ScoreCAM):
    """`sscam` by the paper, or `preset="torchcam"`."""

    explainer = plugins.SSCAM
    renamed = {"num_samples": "samples", "std": "sigma"}  # noqa: RUF012


class ISCAM(ScoreCAM):
    """`iscam` by the paper, or `preset="torchcam"`."""

    explainer = plugins.ISCAM
    renamed = {"num_samples": "samples"}  # noqa: RUF012


class RefineCAM:
    """What several layers' maps all show: their product; arXiv 2605.14641.

    Args:
        model: a classifier.
        target_layer: two layers or more.
        base_method: the extractor.
        options: of that.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: Sequence[nn.Module | str],
        base_method: type[Extractor] = GradCAMpp,
        **options: Any,
    ) -> None:
        if not isinstance(target_layer, list | tuple) or len(target_layer) < 2:
            raise InputError(
                f"target_layer is {repr(target_layer)[:80]}; RefineCAM takes a list of two layers"
                " or more"
            )
        self.base_cam = base_method(model, target_layer, **options)

    def __enter__(self) -> "RefineCAM":
        return self

    def __exit__(self, *raised: object) -> None:
        self.base_cam.__exit__(*raised)

    def __call__(
        self,
        class_idx: int | list[int] | None = None,
        scores: Any = None,
        normalized: bool = True,
        target_shape: tuple[int, int] | None = None,
        *,
        targets: Any = None,
    ) -> list[Float[Tensor, "b H W"]]:
        """A list of one map of each image; arguments as of the other extractors."""
        cams = self.base_cam(class_idx, scores, targets=targets)
        product = torch.stack([upsample(cam, target_shape or largest(cams)) for cam in cams]).prod(
            0
        )
        return [minmax(product) if normalized else product]


class FinerCAM:
    """Not here."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise MethodError(
            "camport.compat.torchcam has no FinerCAM; the same map is camport.explain(model,"
            " images, camport.plugins.FinerCAM(classes=3, strength=0.6), target)"
        )


class LeGrad:
    """Not here."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise MethodError(
            "camport.compat.torchcam has no LeGrad; the nearest is camport.explain(model, images,"
            " 'legrad', target), of the model's own attentions"
        )
