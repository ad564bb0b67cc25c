"""grad-cam's `utils`: targets, pictures, and how tokens lie on the image."""

from camport.late import late

__getattr__ = late(__name__, {}, ("image", "model_targets", "reshape_transforms"))
