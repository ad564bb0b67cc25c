"""grad-cam's package `pytorch_grad_cam` by its names; only the import changes.

```python
from camport.compat.pytorch_grad_cam import GradCAM
from camport.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
    maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(281)])  # float32 [b,H,W]
```

What camport has no method for is a class all the same, which says so when it is made.
"""

from typing import TYPE_CHECKING

from camport.late import late

if TYPE_CHECKING:
    from camport.compat.pytorch_grad_cam.base_cam import BaseCAM as BaseCAM
    from camport.compat.pytorch_grad_cam.classes import FEM as FEM
    from camport.compat.pytorch_grad_cam.classes import KPCA_CAM as KPCA_CAM
    from camport.compat.pytorch_grad_cam.classes import AblationCAM as AblationCAM
    from camport.compat.pytorch_grad_cam.classes import EigenCAM as EigenCAM
    from camport.compat.pytorch_grad_cam.classes import EigenGradCAM as EigenGradCAM
    from camport.compat.pytorch_grad_cam.classes import FullGrad as FullGrad
    from camport.compat.pytorch_grad_cam.classes import GradCAM as GradCAM
    from camport.compat.pytorch_grad_cam.classes import GradCAMElementWise as GradCAMElementWise
    from camport.compat.pytorch_grad_cam.classes import GradCAMPlusPlus as GradCAMPlusPlus
    from camport.compat.pytorch_grad_cam.classes import HiResCAM as HiResCAM
    from camport.compat.pytorch_grad_cam.classes import LayerCAM as LayerCAM
    from camport.compat.pytorch_grad_cam.classes import RandomCAM as RandomCAM
    from camport.compat.pytorch_grad_cam.classes import ScoreCAM as ScoreCAM
    from camport.compat.pytorch_grad_cam.classes import ShapleyCAM as ShapleyCAM
    from camport.compat.pytorch_grad_cam.classes import XGradCAM as XGradCAM
    from camport.compat.pytorch_grad_cam.finer_cam import FinerCAM as FinerCAM
    from camport.compat.pytorch_grad_cam.guided_backprop import (
        GuidedBackpropReLUModel as GuidedBackpropReLUModel,
    )
    from camport.compat.pytorch_grad_cam.refine_cam import RefineCAM as RefineCAM

_HERE = "camport.compat.pytorch_grad_cam"
_CLASSES = (
    *(
        "AblationCAM",
        "EigenCAM",
        "EigenGradCAM",
        "FEM",
        "FullGrad",
        "GradCAM",
        "GradCAMElementWise",
    ),
    *(
        "GradCAMPlusPlus",
        "HiResCAM",
        "KPCA_CAM",
        "LayerCAM",
        "RandomCAM",
        "ScoreCAM",
        "ShapleyCAM",
        "XGradCAM",
    ),
)
_REFUSED = (
    *("AblationLayer", "AblationLayerFasterRCNN", "AblationLayerVit", "ActivationsAndGradients"),
    *("DeepFeatureFactorization", "SESS", "SegEigenCAM", "run_dff_on_image"),
)
_HOMES = {
    **dict.fromkeys(_CLASSES, f"{_HERE}.classes"),
    **dict.fromkeys(_REFUSED, f"{_HERE}.refused"),
    "BaseCAM": f"{_HERE}.base_cam",
    "FinerCAM": f"{_HERE}.finer_cam",
    "GuidedBackpropReLUModel": f"{_HERE}.guided_backprop",
    "RefineCAM": f"{_HERE}.refine_cam",
}

__all__ = [*_HOMES]

__getattr__ = late(__name__, _HOMES, ("utils",))


def __dir__() -> list[str]:
    return __all__
