"""What the callbacks of trainings have in common: when they explain,
and that no training ends because of it."""

import warnings
from typing import Any

from torch import Tensor, nn

import camport
from camport.core import Explanation
from camport.errors import CamportError, CamportWarning, InputError


def check_every(every: int) -> None:
    """InputError for a number of epochs below 1."""
    if every < 1:
        raise InputError(f"every is {every}; give the epochs between two explanations, 1 or more")


def explained(model: nn.Module, images: Tensor, epoch: int, **options: Any) -> Explanation | None:
    """`camport.explain`; what cannot be explained after this epoch is a CamportWarning,
    and None."""
    try:
        return camport.explain(model, images, **options)
    except CamportError as error:
        warnings.warn(f"epoch {epoch} was not explained: {error}", CamportWarning, stacklevel=3)
        return None
