"""Other libraries' classes under their names, computed by camport,
so that moving over costs the import line.

`camport.compat.pytorch_grad_cam` is grad-cam's package, `camport.compat.torchcam` is torchcam's.
Their maps are camport's: docs/moving.md says where and why they differ from the original's.
"""

from camport.late import late

__getattr__ = late(__name__, {}, ("pytorch_grad_cam", "torchcam"))
