"""What no file can hold is refused before anything is traced, by operator and module."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import camport
from camport.errors import ExportError
from camport.export import pipeline, to_onnx, to_pt2, to_torchscript

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Bessel(nn.Module):
    """Has no ONNX form, forwards already."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.special.bessel_j0(x.detach())


class Turned(nn.Module):
    """Has an ONNX form, but its gradient has none. Its numbers take the images' type.
    Moves places by 2 % at most."""

    def forward(self, x: Tensor) -> Tensor:
        turn = x.new_tensor([[[1, 0.05, 0], [0, 1, 0]]]).expand(x.shape[0], 2, 3)
        grid = F.affine_grid(turn, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bicubic", align_corners=False)


class Branching(nn.Module):
    """Looks at a value."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0 else x * 3


class Reading(nn.Module):
    """Takes a value out of a tensor and goes on with it as a number."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 + 0 * x.abs().max().item())  # no image depends on the others


class Deformed(nn.Module):
    """An operator of torchvision's that needs its library."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(4, 18, 3, padding=1)
        self.conv = torchvision.ops.DeformConv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.offsets(x))


class Net(nn.Module):
    def __init__(self, odd: nn.Module) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, 2)
        self.neck = nn.Sequential(nn.ReLU(), nn.Sequential(odd, nn.ReLU()))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.neck(self.features(x)).mean((2, 3)))


@pytest.fixture
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    def traced(*args: object) -> None:
        raise AssertionError("tracing started")

    monkeypatch.setattr(pipeline, "lower", traced)


@pytest.mark.usefixtures("no_tracing")
@pytest.mark.parametrize(
    ("odd", "layer", "write", "said"),
    [
        (
            Bessel(),
            "features",
            to_onnx,
            r"^no ONNX form for aten\.special_bessel_j0\.default in 'neck\.1\.0' \(Bessel\)",
        ),
        (
            Bessel(),
            "neck",
            to_onnx,
            r"special_bessel_j0\.default in 'neck\.1\.0' \(Bessel\)\. Replace the module",
        ),
        (
            Deformed(),
            "features",
            to_pt2,
            r"deform_conv2d\.default \(not PyTorch's own\) in 'neck\.1\.0\.conv' \(DeformConv2d\)",
        ),
        (
            Deformed(),
            "features",
            to_torchscript,
            r"deform_conv2d\.default \(not PyTorch's own\) in 'neck\.1\.0\.conv' \(DeformConv2d\)",
        ),
    ],
)
def test_refused_before_tracing(
    tmp_path: Path, odd: nn.Module, layer: str, write: object, said: str
) -> None:
    bound = camport.bind(Net(odd).eval(), "gradcam", layer)
    with pytest.raises(ExportError, match=said):
        write(bound, tmp_path / "x", IMAGES)  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_tracing")
def test_a_branch_on_values_is_refused_where_it_stands(tmp_path: Path) -> None:
    said = r"cannot be traced: .*in Branching\.forward, test_preflight\.py:\d+"
    with pytest.raises(ExportError, match=said):
        to_onnx(
            camport.bind(Net(Branching()).eval(), "gradcam", "features"),
            tmp_path / "x.onnx",
            IMAGES,
        )
    assert not list(tmp_path.iterdir())


def test_a_value_that_is_only_computed_with_exports(tmp_path: Path) -> None:
    report = to_onnx(
        camport.bind(Net(Reading()).eval(), "gradcam", "features"), tmp_path / "x.onnx", IMAGES
    )
    assert report.lowered < 1e-12


@pytest.mark.usefixtures("no_tracing")
def test_a_gradient_is_refused_in_the_module_that_it_belongs_to(tmp_path: Path) -> None:
    said = (
        r"aten\.grid_sampler_2d_backward\.default in 'neck\.1\.0' \(Turned\)\. Choose a later layer"
    )
    with pytest.raises(ExportError, match=said):
        to_onnx(
            camport.bind(Net(Turned()).eval(), "gradcam", "features"), tmp_path / "x.onnx", IMAGES
        )


@pytest.mark.everything
def test_a_later_layer_exports(tmp_path: Path) -> None:
    """Where the gradient does not pass through, the remedy that the message names is one."""
    report = to_onnx(
        camport.bind(Net(Turned()).eval(), "gradcam", "neck"), tmp_path / "x.onnx", IMAGES
    )
    assert report.lowered < 1e-12
