"""Pictures of signed images: gradients with respect to the pixels,
as guided backpropagation and its relatives give."""

from typing import Literal, get_args

import numpy as np
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.view.pictures import to_unit_map

GradientView = Literal["colour", "grey", "positive", "negative"]
SIGNED = 0.25
"""Share of a map's scale that even its lowest percents exceed where 0 lies inside the map's
range."""

GRADIENT_VIEWS: tuple[GradientView, ...] = get_args(GradientView)


def gradient_picture(
    gradient: np.ndarray, view: GradientView = "colour", *, percentile: float = 99
) -> Image.Image:
    """A gradient [c,H,W] as an RGB picture of its size.

    Values are divided by the `percentile`-th percentile of their magnitudes, one number for the
    whole image, and what is beyond saturates; a few extreme pixels would leave the rest black
    otherwise.

    Args:
        gradient: signed, a channel a colour; one channel is shown in grey.
        view: "colour": mid-grey is 0, channels brighter where more of that colour raises the score.
            "grey": the magnitude, summed over channels, white on black. "positive": what raises the
            score, in colour on black. "negative": what lowers it, likewise and on the same scale.
        percentile: above 0 and at most 100.

    Raises:
        InputError: not [1,H,W] or [3,H,W], or values that are not finite.
        UnknownNameError: no such view.
    """
    if view not in GRADIENT_VIEWS:
        raise UnknownNameError("view", view, GRADIENT_VIEWS)
    if not 0 < percentile <= 100:
        raise InputError(f"percentile is {percentile}; give more than 0, at most 100")
    signed = np.asarray(gradient)
    if (
        signed.ndim != 3
        or signed.shape[0] not in (1, 3)
        or 0 in signed.shape
        or signed.dtype.kind != "f"
    ):
        raise InputError(
            f"gradient is {signed.dtype} {list(signed.shape)}; give the signed image of one image,"
            ' [3,H,W] or [1,H,W], e.g. explanation.figures["gradient"][0]'
        )
    if not np.isfinite(signed).all():
        raise InputError(
            f"gradient has {int((~np.isfinite(signed)).sum())} values that are not finite"
        )
    signed = signed.astype(np.float32)
    if view == "grey":
        signed = np.abs(signed).sum(0, keepdims=True)
    scaled = np.clip(signed / _peak(signed, percentile), -1, 1)
    if view == "colour":
        unit = (scaled + 1) / 2
    else:
        unit = np.maximum(-scaled if view == "negative" else scaled, 0)
    pixels = np.rint(unit * 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def pictured(heatmap: np.ndarray, family: str | None, *, percentile: float = 99) -> np.ndarray:
    """A heatmap [H,W] as pictures show it: of the "input-gradient" family brought to its scale,
    any other as it is.

    A gradient of pixels has a few extreme ones, which leave the rest without contrast: what is
    beyond the `percentile`-th percentile of its positive values saturates, as in Smilkov et al.
    2017 (arXiv 1706.03825), section 3.1. A map that had a sign before it was brought to [0,1], as
    integrated gradients have, is far from 0 nearly everywhere: it is cold up to its median, which
    is where most pixels say nothing, and hot where they speak for the target. The map's numbers
    stay as they are wherever they are given.

    Args:
        heatmap: in [0,1].
        family: of the method, as `Explainer.family` has it; None where it is not known.
        percentile: above 50 and at most 100.

    Raises:
        InputError: values out of range.
    """
    if family != "input-gradient":
        return heatmap
    if not 50 < percentile <= 100:
        raise InputError(f"percentile is {percentile}; give more than 50, at most 100")
    unit = to_unit_map(heatmap)
    high, awake = _peak(unit, percentile), unit[unit > 0]
    # what the network did not see of a picture is 0, and is no part of the map
    signed = awake.size and np.percentile(awake, 100 - percentile) > SIGNED * high
    low = float(np.median(awake)) if signed else 0.0
    return np.asarray(np.clip((unit - low) / (high - low or 1), 0, 1))


def _peak(signed: np.ndarray, percentile: float) -> float:
    """The magnitude that becomes full brightness; most of a gradient may be 0,
    as behind a ReLU rule."""
    magnitudes = np.abs(signed)
    awake = magnitudes[magnitudes > 0]
    return float(np.percentile(awake, percentile)) if awake.size else 1.0
