"""Models that take an image and a text: which argument is which."""

import inspect
import re
from typing import Any

from torch import Tensor, nn

TEXT = re.compile(
    r"(^|_)(questions?|quest?|texts?|tokens?|captions?|words?|sentences?|quer(y|ies)|ids)($|_)"
)
IMAGE = re.compile(r"(^|_)(images?|imgs?|pixels?|pictures?|photos?|visuals?|visions?|x)($|_)")
"""What the arguments are called, in part."""


def with_text(model: nn.Module, images: Tensor, text: Tensor) -> Any:
    """The model called on images [b,c,H,W] and text [b,t]: `model(images, text)`.

    By keyword where the text can be given by keyword alone, and the text first where both
    arguments' names say so.
    """
    parameters = list(inspect.signature(model.forward).parameters.values())
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    placed = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(placed) == 1 and len(named) == 1:
        return model(images, **{named[0]: text})
    if len(placed) > 1 and TEXT.search(placed[0].lower()) and IMAGE.search(placed[1].lower()):
        return model(text, images)
    return model(images, text)
