"""Classes of grad-cam's that camport has no counterpart of: each says so when it is made,
and names the nearest."""

from typing import Any, NoReturn

from camport.errors import MethodError


class _Refused:
    remedy: str

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise MethodError(
            f"camport.compat.pytorch_grad_cam has no {type(self).__name__}; {self.remedy}"
        )


class SegEigenCAM(_Refused):
    """Seg-Eigen-CAM."""

    remedy = (
        "the nearest is EigenGradCAM, with targets=[SemanticSegmentationTarget(category, mask)]"
    )


class SESS(_Refused):
    """Saliency enhancing with scaling and sliding."""

    remedy = (
        "aug_smooth=True of any class averages over variants of the image, and so does"
        " camport.plugins.Smoothed"
    )


class DeepFeatureFactorization(_Refused):
    """Concepts of several images at once, with their embeddings."""

    remedy = (
        "the maps of one image's concepts are camport.explain(model, images,"
        " camport.plugins.DFF(concepts=5, concept=0), layer=layer)"
    )


class ActivationsAndGradients(_Refused):
    """Hooks on a model."""

    remedy = (
        "an explanation has both: camport.explain(model, images, layer=layer).activations and"
        " .gradients"
    )


class AblationLayer(_Refused):
    """What replaces a layer while channels are left out."""

    remedy = "AblationCAM needs none, as no layer of the model is replaced"


class AblationLayerVit(AblationLayer):
    """As `AblationLayer`."""


class AblationLayerFasterRCNN(AblationLayer):
    """As `AblationLayer`."""


def run_dff_on_image(*arguments: Any, **options: Any) -> NoReturn:
    """As `DeepFeatureFactorization`, drawn."""
    raise MethodError(
        "camport.compat.pytorch_grad_cam has no run_dff_on_image;"
        f" {DeepFeatureFactorization.remedy}"
    )
