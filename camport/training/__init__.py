"""Training with explanations: augmentation by what a network looks at, and maps that settle.

`camport.training` needs torchvision, as the extra `torch` has it.
"""

from camport.training.augmentation import ExplanationAugmentation
from camport.training.drift import ExplanationDrift

__all__ = ["ExplanationAugmentation", "ExplanationDrift"]
