"""The built-in explainers, one a file; registered through the same hook as everybody else's."""

from camport.core.explainer import Explainer
from camport.core.markers import hookimpl
from camport.plugins.cam import CAM
from camport.plugins.feature_maps import FeatureMaps
from camport.plugins.gradcam import GradCAM
from camport.plugins.gradcam_plus_plus import GradCAMPlusPlus
from camport.plugins.hirescam import HiResCAM
from camport.plugins.layercam import LayerCAM
from camport.plugins.saliency import Saliency
from camport.plugins.xgradcam import XGradCAM

__all__ = ["CAM", "FeatureMaps", "GradCAM", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "Saliency", "XGradCAM"]


@hookimpl
def camport_explainers() -> list[type[Explainer]]:
    """All of them."""
    return [FeatureMaps, Saliency, CAM, GradCAM, GradCAMPlusPlus, HiResCAM, XGradCAM, LayerCAM]
