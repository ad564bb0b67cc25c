"""The file means the same elsewhere: ONNX's own evaluator computes what it should,
and no engine can misread it."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

import camport
from camport.demo import networks
from camport.export import to_onnx
from camport.export.onnx_file.ort import runner
from camport.export.proof import parity
from camport.export.proof.float64_reference import in_float64


@pytest.fixture(scope="module")
def exported(shared) -> tuple[Path, camport.Bound, torch.Tensor]:
    """The demo's network, explained before a block that the gradient passes: strides, a sum,
    masks, a pooling."""
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    bound = camport.bind(networks.load("digits"), "gradcam", layer="layer2")
    folder, _ = shared(
        "digits-layer2", lambda folder: to_onnx(bound, folder / "digits.onnx", images)
    )
    return folder / "digits.onnx", bound, images


@pytest.mark.parametrize("engine", ["reference", "onnxruntime"])
def test_engines_agree_with_pytorch(exported, engine) -> None:
    path, bound, images = exported
    program = bound.program(images)
    inputs = {"images": images.flip(3), "target": torch.tensor([7, -1])}
    run = runner(path)
    if engine == "reference":
        evaluator = ReferenceEvaluator(str(path))
        names = evaluator.output_names

        def run(given):
            found = evaluator.run(names, {name: value.numpy() for name, value in given.items()})
            return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    reference = in_float64(program, program.state, inputs)
    found = parity.compare(program, program.state, run, inputs, reference)
    assert set(found) == {"outputs", "score", "heatmap", "feature_maps", "gradients"}
    for name, value in found.items():
        assert value.holds, f"{name}: {value}"
        assert value.exported < 1e-4, name


def test_no_zero_that_an_engine_takes_for_unset(exported) -> None:
    """OpenVINO's HardSigmoid has 0.2 and 0.5 in place of zeros."""
    nodes = [node for node in onnx.load(exported[0]).graph.node if node.op_type == "HardSigmoid"]
    assert nodes
    for node in nodes:
        given = {a.name: a.f for a in node.attribute}
        assert given["alpha"] != 0
        assert given["beta"] != 0


def test_a_mask_is_nought_or_one(tmp_path) -> None:
    """What its offset costs: nothing, for a ReLU's results."""
    from camport.export.operators.masks import NEARLY_ZERO, STEEP

    y = torch.tensor([0.0, 1e-25, 1e-12, 1e-3, 1.0, 1e6])
    for dtype in (torch.float32, torch.bfloat16):
        given = torch.clamp(y.to(dtype) * STEEP + NEARLY_ZERO, 0, 1)
        assert given.tolist() == [0, 1, 1, 1, 1, 1]
    assert torch.tensor(NEARLY_ZERO, dtype=torch.float16) < 0


class Windowed(torch.nn.Module):
    """A linear layer within windows, [b, windows, windows, n, c] and not contiguous: Twins,
    VOLO."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 64, 4, 4)
        self.mixed, self.head = torch.nn.Linear(64, 192), torch.nn.Linear(192, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patches(x).permute(0, 2, 3, 1)
        b, h, w, c = y.shape
        windows = y.reshape(b, h // 2, 2, w // 2, 2, c).transpose(2, 3)
        return self.head(self.mixed(windows).tanh().mean((1, 2, 3, 4)))


def test_no_weight_is_repeated_over_windows(tmp_path) -> None:
    torch.manual_seed(0)
    report = to_onnx(
        camport.bind(Windowed().eval(), "gradcam", "patches"),
        tmp_path / "x.onnx",
        torch.rand(2, 3, 32, 32),
    )
    assert report.lowered < 1e-12
    assert report.bytes < 120_000
