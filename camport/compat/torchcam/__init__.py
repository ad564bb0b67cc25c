"""torchcam by its names: `methods` and `utils.overlay_mask`; only the import changes.

```python
from camport.compat.torchcam.methods import LayerCAM

with LayerCAM(model, target_layer="layer4") as cam_extractor:
    out = model(images)
    maps = cam_extractor(out.squeeze(0).argmax().item(), out)  # a list, [b,h,w] a layer
```
"""

from camport.late import late

__getattr__ = late(__name__, {}, ("methods", "utils"))
