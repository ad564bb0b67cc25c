"""No file is further from float64 than a stated maximum, however far eager PyTorch is;
the reason is said."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import camport
from camport.errors import ExportError, ParityError
from camport.export import to_onnx
from camport.export.proof.parity import MOST, check_exported, check_lowered

X = torch.linspace(1, 2, 7)


def inexact(by: float):
    """Eager PyTorch that is off by so much."""
    return lambda state, inputs: {"y": X * (1 + by)}


def check(exported: float, eager: float, precision: torch.dtype = torch.float32) -> float:
    run = lambda _: {"y": X * (1 + exported)}  # noqa: E731
    return check_exported(inexact(eager), {}, run, [({"x": X}, {"y": X.double()})], precision)[
        "y"
    ].bound


def test_the_bound_never_exceeds_the_maximum() -> None:
    assert check(1e-3, 0.01) == pytest.approx(0.03, rel=1e-3)
    assert check(1e-3, 0.4) == MOST[torch.float32] == 5e-2
    assert check(1e-3, 0.4, torch.float16) == MOST[torch.float16] == 3e-1


def test_above_it_eagers_own_error_is_the_reason() -> None:
    said = (
        r"3\.5e-01 off .*at most 5\.0e-02 is allowed; eager PyTorch is 3\.6e-01 off itself, so"
        r" rounding alone decides"
    )
    with pytest.raises(ParityError, match=said):
        check(0.35, 0.36)
    with pytest.raises(ParityError, match=r"eager PyTorch is 1\.0e-03 off$"):
        check(0.35, 1e-3)


def test_a_lowered_graph_that_strays_without_bound_is_refused() -> None:
    calls = count()
    wild = lambda state, inputs: {"y": X.double() * (1 + next(calls) % 2)}  # noqa: E731
    with pytest.raises(
        ParityError,
        match=r"the lowered graph is wrong: output 'y' is 5\.0e-01 off in float64, at most 5e-02",
    ):
        check_lowered(wild, {}, {"x": X}, {"y": X.double() * 2})


class NumpyNoise(camport.Explainer):
    """Weights that numpy draws, so that no operator shows it."""

    name, title, paper, family, needs_gradients = "numpy-noise", "Noise", "-", "activation", False

    def saliency(self, probe) -> Tensor:
        """A random sum over channels."""
        channels = probe.activations[0].shape[1]
        weights = torch.tensor(
            np.random.default_rng().random(channels).tolist(), dtype=probe.activations[0].dtype
        )
        return (probe.activations[0] * weights[:, None, None]).sum(1).relu()


def test_numbers_that_numpy_draws_are_the_reason(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ExportError,
        match=r"PyTorch gives other values each time it is asked the same \(output 'heatmap'",
    ):
        to_onnx(camport.bind(net.eval(), NumpyNoise(), "1"), tmp_path / "x.onnx", images)
    assert not list(tmp_path.iterdir())
