"""The built-in explainers, one a file; registered through the same hook as everybody else's."""

from camport.core.explainer import Explainer
from camport.core.markers import hookimpl
from camport.plugins.ablationcam import AblationCAM
from camport.plugins.attention_rollout import AttentionRollout
from camport.plugins.cam import CAM
from camport.plugins.deconvnet import Deconvnet
from camport.plugins.dff import DFF
from camport.plugins.drise import DRISE
from camport.plugins.eigencam import EigenCAM
from camport.plugins.eigengradcam import EigenGradCAM
from camport.plugins.feature_maps import FeatureMaps
from camport.plugins.fem import FEM
from camport.plugins.finercam import FinerCAM
from camport.plugins.fullgrad import FullGrad
from camport.plugins.gradcam import GradCAM
from camport.plugins.gradcam_elementwise import GradCAMElementWise
from camport.plugins.gradcam_plus_plus import GradCAMPlusPlus
from camport.plugins.groupcam import GroupCAM
from camport.plugins.guided_backprop import GuidedBackprop
from camport.plugins.guided_gradcam import GuidedGradCAM
from camport.plugins.hirescam import HiResCAM
from camport.plugins.integrated_gradients import IntegratedGradients
from camport.plugins.iscam import ISCAM
from camport.plugins.kpcacam import KPCACAM
from camport.plugins.layercam import LayerCAM
from camport.plugins.legrad import LeGrad
from camport.plugins.occlusion import Occlusion
from camport.plugins.odam import ODAM
from camport.plugins.reciprocam import ReciproCAM
from camport.plugins.rise import RISE
from camport.plugins.saliency import Saliency
from camport.plugins.scorecam import ScoreCAM
from camport.plugins.shapleycam import ShapleyCAM
from camport.plugins.smoothed import Smoothed
from camport.plugins.smoothgrad import SmoothGrad
from camport.plugins.smoothgradcam_plus_plus import SmoothGradCAMPlusPlus
from camport.plugins.sscam import SSCAM
from camport.plugins.xgradcam import XGradCAM
from camport.plugins.xrai import XRAI

__all__ = [
    "CAM",
    "DFF",
    "DRISE",
    "FEM",
    "ISCAM",
    "KPCACAM",
    "ODAM",
    "RISE",
    "SSCAM",
    "XRAI",
    "AblationCAM",
    "AttentionRollout",
    "Deconvnet",
    "EigenCAM",
    "EigenGradCAM",
    "FeatureMaps",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "GroupCAM",
    "GuidedBackprop",
    "GuidedGradCAM",
    "HiResCAM",
    "IntegratedGradients",
    "LayerCAM",
    "LeGrad",
    "Occlusion",
    "ReciproCAM",
    "Saliency",
    "ScoreCAM",
    "ShapleyCAM",
    "SmoothGrad",
    "SmoothGradCAMPlusPlus",
    "Smoothed",
    "XGradCAM",
]


@hookimpl
def camport_explainers() -> list[type[Explainer]]:
    """All of them."""
    return [
        FeatureMaps,
        Saliency,
        CAM,
        GradCAM,
        GradCAMPlusPlus,
        HiResCAM,
        XGradCAM,
        LayerCAM,
        GradCAMElementWise,
        EigenCAM,
        EigenGradCAM,
        KPCACAM,
        FEM,
        ODAM,
        ShapleyCAM,
        AblationCAM,
        Deconvnet,
        GuidedBackprop,
        GuidedGradCAM,
        IntegratedGradients,
        Occlusion,
        ScoreCAM,
        SmoothGrad,
        GroupCAM,
        RISE,
        DRISE,
        ReciproCAM,
        ISCAM,
        SSCAM,
        SmoothGradCAMPlusPlus,
        FullGrad,
        XRAI,
        DFF,
        FinerCAM,
        AttentionRollout,
        LeGrad,
    ]
