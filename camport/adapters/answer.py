"""What a model said, beside what the adapter has to know of how it was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camport.errors import CamportError


@dataclass(frozen=True)
class Answer:
    """What a model said; a container to torch's tree functions.

    Attributes:
        outputs: the model's own.
        images: how many images were asked about.
        logits: those behind the probabilities among the outputs that are explained; None where none
            were looked for.
        reading: how an adapter that is not settled yet reads the outputs.
        refused: why it cannot read them.
    """

    outputs: Any
    images: int
    logits: Tensor | None = None
    reading: Any = None
    refused: CamportError | None = None


def _made(children: Any, rest: tuple[int, Any, Any]) -> Answer:
    outputs, logits = children
    return Answer(outputs, rest[0], logits, *rest[1:])


torch.utils._pytree.register_pytree_node(
    Answer,
    lambda answer: (
        [answer.outputs, answer.logits],
        (answer.images, answer.reading, answer.refused),
    ),
    _made,
)


def said(outputs: Any) -> Any:
    """The model's own output."""
    return outputs.outputs if isinstance(outputs, Answer) else outputs
