"""Loops over variants of an image in exported files: every format, uneven chunks,
what a body takes from outside."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import camport
from camport.core.explainer import Explainer
from camport.core.maps.heatmap import minmax, upsample
from camport.core.maps.noise import normal
from camport.core.probe import Probe
from camport.errors import ExportError
from camport.export import pipeline, to_onnx, to_pt2, to_torchscript
from camport.plugins import GroupCAM
from camport.runtime import load
from tests.marks import rare
from tests.shared_files import SharedFiles


class ByMask(Explainer):
    """Scores of the images seen through each channel, the loop gives one a channel."""

    name, title, paper, family, needs_gradients = "bymask", "By mask", "-", "perturbation", False

    def saliency(self, probe: Probe) -> Tensor:
        (maps,) = probe.activations
        size = (probe.images.shape[-2], probe.images.shape[-1])

        def score(channels: Tensor) -> Tensor:
            return probe.score(probe.images * minmax(upsample(channels, size))[:, :, None])

        weights = probe.each([maps.movedim(1, 0)], score)
        return (weights.T[:, :, None, None] * maps).sum(1)


class ByNoise(Explainer):
    """A sum of gradients to noisy images."""

    name, title, paper, family, needs_gradients = "bynoise", "By noise", "-", "input-gradient", True
    needs_layer = False

    def saliency(self, probe: Probe) -> Tensor:
        one = probe.images[0]

        def gradient(number: Tensor) -> Tensor:
            noise = normal(0, number, one.numel()).reshape(-1, 1, *one.shape)
            return probe.input_gradient(probe.images + 0.1 * noise)

        return probe.total([torch.arange(5)], gradient).abs().sum(1)


class ByTail(Explainer):
    """Scores with one channel left out, by the tail alone."""

    name, title, paper, family, needs_gradients = "bytail", "By tail", "-", "activation", False

    def saliency(self, probe: Probe) -> Tensor:
        (maps,) = probe.activations
        tail = probe.tail()
        left = probe.each(
            [1 - torch.eye(maps.shape[1])], lambda keep: tail(maps * keep[:, None, :, None, None])
        )
        return ((probe.y - left).T[:, :, None, None] * maps).sum(1)


class Nested(ByMask):
    """A loop in a loop."""

    name = "nested"

    def saliency(self, probe: Probe) -> Tensor:
        codes = torch.arange(3.0)
        inner = probe.total([codes], lambda c: c[:, None] * probe.total([codes], lambda d: d))
        return probe.activations[0].sum(1) * inner


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 7, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(7, 6, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 10),
    ).eval()


IMAGES = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("chunk", [3, *rare(100)])
@pytest.mark.parametrize("method", [ByMask, *rare(ByNoise, ByTail)])
def test_onnx(tmp_path: Path, method: type[Explainer], chunk: int) -> None:
    bound = camport.bind(network(), method(), "3" if method.needs_layer else None, chunk=chunk)
    report = to_onnx(bound, tmp_path / "loop.onnx", IMAGES)
    assert report.lowered < 1e-12
    graph = onnx.load(tmp_path / "loop.onnx").graph
    assert sum(node.op_type == "Scan" for node in graph.node) == 1
    shapes = [tuple(held.dims) for held in graph.initializer]
    for weight in ((8, 3, 3, 3), (7, 8, 3, 3), (6, 7, 3, 3)):
        assert shapes.count(weight) == 1  # graph and body share it
    other = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    result = load(tmp_path / "loop.onnx")(other.numpy(), target=[0, 3, 9, -1])
    explained = bound(other, torch.tensor([0, 3, 9, -1]))
    assert torch.allclose(torch.from_numpy(result.heatmap), explained.heatmap, atol=1e-4)


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    ("write", "method"),
    [
        (to_pt2, ByNoise),
        (to_torchscript, ByMask),
        *rare(
            (to_pt2, ByMask), (to_pt2, ByTail), (to_torchscript, ByNoise), (to_torchscript, ByTail)
        ),
    ],
)
@pytest.mark.everything
def test_formats_of_pytorch(tmp_path: Path, write: object, method: type[Explainer]) -> None:
    bound = camport.bind(network(), method(), "3" if method.needs_layer else None, chunk=3)
    report = write(bound, tmp_path / ("loop.pt2" if write is to_pt2 else "loop.pt"), IMAGES)
    assert report.dynamic == ("b",)
    assert report.lowered < 1e-12


class Writing(nn.Module):
    """Writes into its images and into what its stem puts out,
    which also goes around the target layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle, self.fc = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Linear(4, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        x = self.stem(x)
        x *= 2
        return self.fc((x + self.middle(x).relu()).amax((2, 3)))


def test_a_tail_that_writes_in_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bound = camport.bind(Writing().eval(), ByTail(), "middle", chunk=2)
    to_onnx(bound, tmp_path / "loop.onnx", IMAGES)
    result = load(tmp_path / "loop.onnx")(IMAGES.numpy(), target=[0, 3])
    explained = bound(IMAGES, torch.tensor([0, 3]))
    assert torch.allclose(torch.from_numpy(result.heatmap), explained.heatmap, atol=1e-4)


def channels_in_eights() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    for norm in (net[1], net[4]):
        norm.running_var.uniform_(0.5, 1.5)
    return net.eval()


def convolutions(graph: onnx.GraphProto) -> set[str]:
    return {node.domain for node in graph.node if node.op_type == "Conv"}


def in_eights(shared: SharedFiles) -> Path:
    bound = camport.bind(channels_in_eights(), GroupCAM(4), "3")
    return (
        shared("loop-in-eights", lambda folder: to_onnx(bound, folder / "loop.onnx", IMAGES))[0]
        / "loop.onnx"
    )


@pytest.mark.everything
def test_convolutions_in_a_loop_are_as_fast_as_outside(tmp_path: Path, shared: SharedFiles) -> None:
    """ONNX Runtime brings them into the same layout, where the processor has one."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = (
        str(tmp_path / "optimised.onnx"),
        3,
    )
    onnxruntime.InferenceSession(in_eights(shared), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    (scan,) = [node for node in graph.node if node.op_type == "Scan"]
    (body,) = [attribute.g for attribute in scan.attribute if attribute.HasField("g")]
    assert convolutions(body) == convolutions(graph)


@pytest.mark.everything
def test_weights_are_held_once_however_often_the_network_runs(shared: SharedFiles) -> None:
    """Group-CAM sees the image, the blurred image and its groups."""
    shapes = [tuple(held.dims) for held in onnx.load(in_eights(shared)).graph.initializer]
    for name, parameter in channels_in_eights().named_parameters():
        if parameter.dim() > 1:
            assert shapes.count(tuple(parameter.shape)) == 1, name


@pytest.mark.everything
def test_long_loops_are_compared_by_their_first_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CHECKED_VARIANTS", 3)
    bound = camport.bind(network(), ByTail(), "3", chunk=2)
    report = to_onnx(bound, tmp_path / "loop.onnx", IMAGES)
    assert report.variants == 3
    assert "first 3 variants" in str(report)
    result = load(tmp_path / "loop.onnx")(IMAGES.numpy(), target=[0, 3])
    explained = bound(IMAGES, torch.tensor([0, 3]))
    assert torch.allclose(torch.from_numpy(result.heatmap), explained.heatmap, atol=1e-4)


def test_a_loop_in_a_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a loop inside a loop cannot be exported"):
        to_onnx(camport.bind(network(), Nested(), "3"), tmp_path / "loop.onnx", IMAGES)
    assert not list(tmp_path.iterdir())
