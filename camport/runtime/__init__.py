"""The edge: runs an exported explainer with numpy and onnxruntime, without PyTorch.

```python
from camport.runtime import load, open_image

explainer = load("resnet50-gradcam.onnx")
pixels, placement = explainer.preprocess.apply(open_image("cat.jpg"))
result = explainer(pixels[None], target=281)
heatmap = placement.to_image(result.heatmap[0])     # [h,w] at the photograph's own size
```
"""

from camport.runtime.binding import Device as Device
from camport.runtime.explainer import Explainer as Explainer
from camport.runtime.explainer import Held as Held
from camport.runtime.explainer import load as load
from camport.runtime.image_file import open_image as open_image
from camport.runtime.placement import Placement as Placement
from camport.runtime.ports import Port as Port
from camport.runtime.preprocess import Preprocess as Preprocess
from camport.runtime.result import Result as Result
from camport.targets.boxes import *  # noqa: F403  # the reader of outputs, by its own names
from camport.targets.labels import class_index as class_index
