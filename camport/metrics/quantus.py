"""Methods of camport as explanations for Quantus, which is not imported here.

```python
from camport.metrics.quantus import explain_func

quantus.MaxSensitivity()(model, x, y, explain_func=explain_func,
    explain_func_kwargs={"method": "layercam"})
```
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from camport.core.bind import bind
from camport.errors import silenced


def explain_func(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
    """Maps [b,1,H,W] of a batch, as Quantus asks an explanation function for them.

    Args:
        model: any nn.Module; left as found.
        inputs: [b,c,H,W], an array or a tensor.
        targets: [b] classes, likewise.
        **options: of `camport.bind`: method, layer, adapter, chunk; and `of`, "heatmap" in [0,1] or
            "raw", the method's own map laid on the image. What else Quantus hands over (`device`
            and the like) is left aside.
    """
    like = next((p for p in model.parameters()), torch.zeros(()))
    images = torch.as_tensor(np.asarray(inputs) if not isinstance(inputs, torch.Tensor) else inputs)
    images = images.to(like.device, like.dtype)
    classes = torch.as_tensor(
        np.asarray(targets) if not isinstance(targets, torch.Tensor) else targets
    )
    known = {
        name: options[name] for name in ("method", "layer", "adapter", "chunk") if name in options
    }
    bound = bind(model, **known)
    with silenced(), torch.enable_grad():
        explanation = bound(images, classes.reshape(-1).long().to(like.device))
        raw = options.get("of", "heatmap") == "raw"
        size = (images.shape[-2], images.shape[-1])
        maps = bound.adapter.lay(explanation.raw, size, bound.model) if raw else explanation.heatmap
    return maps.detach().cpu().numpy()[:, None]
