"""Options of a wrong kind are refused by name, whatever class declares them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest

import camport
from camport.core.option_kinds import Checked, fits
from camport.errors import InputError
from camport.plugins import RISE, GradCAMPlusPlus, Occlusion, SmoothGrad
from tests.nets import Net, images, seeded


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        (3, int, True),
        (np.int64(3), int, True),
        (True, int, False),
        (3.0, int, False),
        (3, float, True),
        (np.float32(0.5), float, True),
        (float("nan"), float, False),
        (float("inf"), float, True),
        ("3", float, False),
        (False, bool, True),
        (0, bool, False),
        (None, int | None, True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (1, Literal[True], False),
        ((1, 2), tuple[int, int], True),
        ([1, 2], tuple[int, ...], True),
        ((1, 2, 3), tuple[int, int], False),
        ((1, "2"), tuple[int, ...], False),
        (len, Callable[[Any], int], True),
        (3, Callable[[Any], int], False),
        ("abc", Sequence[str], False),
        (object(), Any, True),
    ],
)
def test_fits(value, kind, right):
    assert fits(value, kind) is right


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RISE(samples="a"), InputError, r"RISE: samples is 'a'; wanted int"),
        (lambda: RISE(object()), InputError, r"RISE: \w+ is <object object"),
        (lambda: SmoothGrad(samples=1.5), InputError, "SmoothGrad: samples is 1.5; wanted int"),
        (lambda: SmoothGrad(noise=float("nan")), InputError, "noise is nan; wanted a number"),
        (lambda: Occlusion(patch=b"x"), InputError, "patch is b'x'"),
        (
            lambda: GradCAMPlusPlus(preset="papre"),
            InputError,
            "preset is 'papre'; it is one of paper, ",
        ),
        (lambda: replace(RISE(), seed=None), InputError, "seed is None; wanted int"),
    ],
)
def test_methods(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_what_cannot_be_told_is_taken():
    @dataclass(frozen=True)
    class Mine(Checked):
        other: "NoSuchName" = 3  # noqa: F821

    assert Mine("x").other == "x"


def test_layers_of_methods_that_have_none():
    with pytest.raises(camport.CamportError, match="layer is int 3; give a dotted name"):
        camport.bind(seeded(Net()), "saliency", layer=3)
    assert camport.bind(seeded(Net()), "saliency", layer="features")(images(), 1).layers == ()
