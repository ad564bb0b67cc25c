"""Scores and maps that are not finite: refused, with the first tensor that is not."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.core.running.recorder import Ran, Recorder
from camport.errors import MethodError, ModelError


def check_finite(
    method: str,
    score: Tensor,
    raw: Tensor,
    double: nn.Module,
    call: Callable[[], Any],
    variants: Callable[[], bool] = lambda: True,
) -> None:
    """Refuses a score or a map with NaN or infinite values.

    Args:
        method: its name.
        score: [b].
        raw: [b,h,w].
        double: the private copy that was explained.
        call: runs it once more on the clean images; called only where something is not finite.
        variants: whether the scores of masked or noisy images are finite.

    Raises:
        ModelError: a parameter, a module's output or the score is not finite; the first one is
            named.
        MethodError: all of these are finite, and the method's map is not.
    """
    # one sum in place of looking at each value; a sum of finite values may overflow, so it only
    # raises the question
    if bool((score.double().sum() + raw.double().sum()).isfinite()):
        return
    if bool(score.isfinite().all()) and bool(raw.isfinite().all()):
        return
    for name, tensor in (*double.named_parameters(), *double.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(
                f"the model's {name!r} has {_count(tensor)}; load or train its weights again"
            )
    found = _first_output(double, call)
    if found:
        raise ModelError(found)
    if not bool(score.isfinite().all()):
        raise ModelError(
            f"the score of image {_image(score)} is {float(score[_image(score)])}, while every"
            " module's output is finite; look at what the adapter makes of the outputs"
        )
    if not variants():
        raise ModelError(
            f"the score is finite for the images and not for all variants of them that {method}"
            " makes: the model divides by 0, or overflows, for one that is covered, such as a"
            " constant one; guard the division (+ 1e-6), or use a method that runs the model on"
            " the images alone (gradcam)"
        )
    raise MethodError(
        f"{method}: the map of image {_image(raw)} has {_count(raw)}, while the score and every"
        " module's output are finite; its arithmetic divides by 0 or overflows"
    )


def _first_output(double: nn.Module, call: Callable[[], Any]) -> str:
    """The first module, in the order in which they end, that puts out what is not finite; "" where
    none does."""
    said: list[str] = []

    def look(ran: Ran) -> None:
        for value in tree_leaves(ran.output) if not said else ():
            if (
                isinstance(value, Tensor)
                and value.is_floating_point()
                and not bool(value.isfinite().all())
            ):
                kind = str(value.dtype).removeprefix("torch.")
                wider = (
                    "; run the model in float32"
                    if value.dtype in (torch.float16, torch.bfloat16)
                    else ""
                )
                ruled = (
                    "" if ran.name else "what is asked about is ruled out by minus infinity, or "
                )
                said.append(
                    f"{repr(ran.name) if ran.name else 'the model'} ({type(ran.module).__name__})"
                    f" puts out {tuple(value.shape)} {kind} with {_count(value)}; {ruled}its inputs"
                    f" overflow or are out of range{wider}"
                )
                return

    with Recorder(double, look, root=True), torch.no_grad():
        call()
    return said[0] if said else ""


def _count(tensor: Tensor) -> str:
    nans, all_ = int(tensor.isnan().sum()), int((~tensor.isfinite()).sum())
    return f"{nans} NaN and {all_ - nans} infinite values"


def _image(tensor: Tensor) -> int:
    return (
        int((~tensor.isfinite()).flatten(1).any(1).nonzero()[0])
        if tensor.dim() > 1
        else int((~tensor.isfinite()).nonzero()[0])
    )
