"""Files that compute in float16."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from programs import IMAGES, Bound, CamProgram, randomise, small
from torch import Tensor, nn

from camport.errors import ExportError, ParityError, UnknownNameError
from camport.export import to_onnx, to_pt2
from camport.export.proof.parity import FACTOR
from camport.export.writing import to_onnx as onnx_format
from tests.marks import rare


def modern() -> nn.Module:
    """Activations with masks of their own, strides of each kind, a sum that is scattered,
    a softmax."""
    torch.manual_seed(0)
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 8, 5, 2, 2, groups=8),
            nn.BatchNorm2d(8),
            nn.Hardswish(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 16, 1, 2),
            nn.LeakyReLU(0.1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(16),
            nn.Linear(16, 10),
            nn.Softmax(1),
        )
    )


def single_elements(model: onnx.ModelProto) -> int:
    """How much is held in float32: factors of Resize, and the weights of a layer norm,
    which computes in it."""
    kinds = (TensorProto.FLOAT, TensorProto.DOUBLE)
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in kinds)


@pytest.mark.parametrize(("net", "layer"), [(modern, "0"), *rare((small, "0"), (small, "9"))])
def test_half(tmp_path: Path, net: object, layer: str) -> None:
    program = CamProgram(net(), layer, classes=10)
    report = to_onnx(Bound(program), tmp_path / "half.onnx", IMAGES, precision="float16", opset=18)
    model = onnx.load(tmp_path / "half.onnx")
    assert {v.type.tensor_type.elem_type for v in model.graph.output} == {TensorProto.FLOAT}
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert single_elements(model) < 60
    assert {p.key: p.value for p in model.metadata_props}["camport.precision"] == "float16"
    assert report.precision == "float16"
    assert "float16" in str(report)
    assert report.lowered < 1e-12
    assert 1e-5 < report.parity["heatmap"].exported < 0.05
    inputs = program.sample(IMAGES, 4, 9)
    got = onnx_format.runner(tmp_path / "half.onnx")(inputs)
    for name, expected in program(program.state, inputs).items():
        assert got[name].dtype == torch.float32
        # a ReLU at 0 takes the other side, and so does a gradient
        kinks = 0.15 if name == "gradients" else 0.05
        assert (got[name] - expected).norm() <= kinks * expected.norm(), name


@pytest.mark.everything
def test_the_file_is_half_as_large(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 256, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    sizes = [
        to_onnx(Bound(CamProgram(net, "1")), tmp_path / f"{p}.onnx", IMAGES, precision=p).bytes
        for p in ("float32", "float16")
    ]
    assert sizes[1] < 0.54 * sizes[0]


@pytest.mark.everything
@pytest.mark.usefixtures("fresh_process")
def test_pt2(tmp_path: Path) -> None:
    program = CamProgram(small(), "2", classes=10)
    report = to_pt2(Bound(program), tmp_path / "half.pt2", IMAGES, precision="float16")
    assert report.precision == "float16"
    loaded = torch.export.load(tmp_path / "half.pt2")
    assert {t.dtype for t in loaded.state_dict.values() if t.is_floating_point()} == {torch.float16}
    inputs = program.sample(IMAGES, 4, 9)
    values = loaded.module()(inputs["images"], inputs["target"])
    for value, (name, expected) in zip(values, program(program.state, inputs).items(), strict=True):
        assert value.dtype == torch.float32
        assert (value - expected).norm() <= 0.05 * expected.norm(), name


@pytest.mark.everything
def test_a_worse_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = onnx_format.runner

    def wrong(path: Path) -> object:
        run = honest(path)
        return lambda inputs: {
            k: v * 1.05 if k == "gradients" else v for k, v in run(inputs).items()
        }

    monkeypatch.setattr(onnx_format, "runner", wrong)
    with pytest.raises(ParityError, match=r"'gradients' of the exported graph is 5\.\de-02 off"):
        to_onnx(
            Bound(CamProgram(small(), "2", classes=10)),
            tmp_path / "a.onnx",
            IMAGES,
            precision="float16",
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.everything
def test_it_is_held_to_eager_half(tmp_path: Path) -> None:
    report = to_onnx(
        Bound(CamProgram(small(), "2", classes=10)),
        tmp_path / "a.onnx",
        IMAGES,
        precision="float16",
    )
    parity = report.parity["heatmap"]
    assert parity.eager > 1e-4
    assert parity.bound == max(FACTOR * parity.eager, torch.finfo(torch.float16).eps)


class Large(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.full((1, 3, 1, 1), value))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.shift) - self.shift


def test_what_half_cannot_hold_is_named(tmp_path: Path) -> None:
    net = nn.Sequential(Large(1e6), *small())
    with pytest.raises(
        ExportError, match=r"'0\.shift' has values up to 1\.0e\+06, and float16 ends at 65504"
    ):
        to_onnx(
            Bound(CamProgram(net, "3", classes=10)),
            tmp_path / "a.onnx",
            IMAGES,
            precision="float16",
        )
    assert not list(tmp_path.iterdir())


class Masked(nn.Module):
    """Attention over columns with the float32 minimum where it shall not look,
    and a range made in the default type."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(x.shape[-1], dtype=torch.float32).masked_fill(
            torch.arange(x.shape[-1]) > 2, torch.finfo(torch.float32).min
        )
        weights = F.softmax(x.to(mask.dtype) + mask, -1)
        return (x.to(mask.dtype) * weights * torch.linspace(0.5, 1, x.shape[-1])).to(x.dtype)


def test_minima_and_float32_in_the_middle(tmp_path: Path) -> None:
    net = nn.Sequential(*small()[:9], Masked(), *small()[9:])
    report = to_onnx(
        Bound(CamProgram(net, "8", classes=10)), tmp_path / "a.onnx", IMAGES, precision="float16"
    )
    assert report.parity["heatmap"].exported < 0.05
    assert single_elements(onnx.load(tmp_path / "a.onnx")) < 60


@pytest.mark.parametrize(
    ("write", "name"), [(to_onnx, "float18"), (to_onnx, "bfloat16"), (to_pt2, "int8")]
)
def test_other_precisions_are_refused_first(tmp_path: Path, write: object, name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown precision '{name}'"):
        write(Bound(None), tmp_path / "a.onnx", IMAGES, precision=name)
