"""int8 files: what is quantised, and what is asked of them."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from programs import IMAGES, Bound, CamProgram, small
from torch import nn

from camport.errors import ExportError, InputError, ParityError
from camport.export import to_onnx
from camport.export.onnx_file import int8 as quantize_module
from camport.export.onnx_file.int8 import forward_nodes
from camport.export.onnx_file.ort import session
from camport.export.proof.int8_agreement import _correlation, agreement
from tests.shared_files import SharedFiles

PHOTOS = torch.randn(18, 3, 33, 40, generator=torch.Generator().manual_seed(5))


def bound(layer: str = "2") -> Bound:
    return Bound(CamProgram(small(), layer, classes=10))


def exported(shared: SharedFiles, precision: str) -> Path:
    """A file that is to be read only."""
    options = {"precision": "int8", "calibration": PHOTOS} if precision == "int8" else {}
    return (
        shared(
            f"{precision}-2", lambda folder: to_onnx(bound(), folder / "a.onnx", IMAGES, **options)
        )[0]
        / "a.onnx"
    )


def test_int8(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    honest = quantize_module._feeds

    def feeds(program: object, images: torch.Tensor) -> object:
        seen.append(images)
        return honest(program, images)

    monkeypatch.setattr(quantize_module, "_feeds", feeds)
    disabled = logging.root.manager.disable
    report = to_onnx(bound(), tmp_path / "a.onnx", IMAGES, precision="int8", calibration=PHOTOS)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == disabled
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]
    model = onnx.load(tmp_path / "a.onnx")
    assert {o.domain: o.version for o in model.opset_import} == {"": 20}
    assert model.producer_name == "camport"
    assert {p.key: p.value for p in model.metadata_props} == {
        "camport.method": "gradcam",
        "camport.layer": "2",
        "camport.precision": "int8",
    }
    assert report.operators["QuantizeLinear"] >= 5
    assert report.agreement is not None
    assert report.agreement.images == 4
    assert report.agreement.top1 == 1
    assert list(report.agreement.outputs) == [
        "outputs",
        "score",
        "heatmap",
        "feature_maps",
        "gradients",
    ]
    assert 1e-4 < report.agreement.outputs["heatmap"].error < 0.2
    assert report.agreement.outputs["heatmap"].correlation > 0.98
    assert report.parity["heatmap"].exported < 1e-5
    assert "on 4 images that did not calibrate it, the same top class in 100.0%" in str(report)
    assert "float32 file it was made from" in str(report)
    calibrating, comparing = seen  # what calibrates does not compare
    assert torch.equal(comparing, PHOTOS[3::4])
    assert len(calibrating) + len(comparing) == len(PHOTOS)
    assert not any(torch.equal(a, b) for a in calibrating for b in comparing)


def test_the_gradient_stays_in_float32(shared: SharedFiles) -> None:
    """Every weight of the forward pass has 8 bits; nothing of the backward pass is quantised."""
    plain, model = onnx.load(exported(shared, "float32")), onnx.load(exported(shared, "int8"))
    forward = set(forward_nodes(plain))
    backward = [node for node in plain.graph.node if node.name not in forward]
    assert {"ConvTranspose", "ScatterElements"} & {node.op_type for node in backward}
    producers = {name: node for node in model.graph.node for name in node.output}
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.name in forward:
            scaled = producers[node.input[1]]
            assert scaled.op_type == "DequantizeLinear"
            assert kinds[scaled.input[0]] == TensorProto.INT8
    kept = {node.name for node in model.graph.node}
    assert {node.name for node in backward} <= kept
    gradients = {node.output[0] for node in backward}
    assert not any(
        n.op_type == "QuantizeLinear" and n.input[0] in gradients for n in model.graph.node
    )


@pytest.mark.everything
def test_weights_have_a_quarter_of_the_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 256, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images = PHOTOS[:4]
    sizes = [
        to_onnx(Bound(CamProgram(net, "1")), tmp_path / "a.onnx", IMAGES, **options).bytes
        for options in ({}, {"precision": "int8", "calibration": images})
    ]
    assert sizes[1] < 0.35 * sizes[0]


@pytest.mark.everything
def test_two_images_will_do(tmp_path: Path) -> None:
    report = to_onnx(
        bound("9"), tmp_path / "a.onnx", IMAGES, precision="int8", calibration=PHOTOS[:2]
    )
    assert report.agreement is not None
    assert report.agreement.images == 1


def test_a_file_that_explains_something_else_is_refused(tmp_path: Path) -> None:
    """Calibrated on images a thousand times fainter, activations are cut off."""
    faint = torch.cat([PHOTOS[:3] / 1000, PHOTOS[3:4]])
    with pytest.raises(
        ParityError, match=r"of the int8 graph correlates with float32 by -?0\.\d\d, at least 0\.8"
    ):
        to_onnx(bound(), tmp_path / "a.onnx", IMAGES, precision="int8", calibration=faint)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "needs calibration=images"),
        (
            {"calibration": PHOTOS},
            "calibration is for precision=\"int8\", and precision is 'float32'",
        ),
        ({"precision": "int8", "calibration": PHOTOS[:1]}, "has 1 images; at least 2"),
        (
            {"precision": "int8", "calibration": PHOTOS[0]},
            r"float32 \[3, 33, 40\]; it must .* fit images \[1, 3, 33",
        ),
        ({"precision": "int8", "calibration": PHOTOS[..., :39]}, r"\[18, 3, 33, 39\]; it must"),
        (
            {"precision": "int8", "calibration": PHOTOS.to(torch.uint8)},
            "uint8 .* must be floating point",
        ),
        ({"precision": "int8", "calibration": PHOTOS / 0}, "not finite"),
    ],
)
def test_calibration_that_does_not_fit_is_refused_first(
    tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        to_onnx(Bound(None), tmp_path / "a.onnx", IMAGES, **options)


def test_without_the_prediction_there_is_nothing_to_quantise(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="leave it among the outputs"):
        to_onnx(
            bound(),
            tmp_path / "a.onnx",
            IMAGES,
            outputs=["heatmap"],
            precision="int8",
            calibration=PHOTOS,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [2, 4, 6], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 1], [5, 5], 1),
        ([1, 1], [1, 2], 0),
        ([1, 2], [1, 1], 0),
    ],
)
def test_correlation(one: list[float], other: list[float], expected: float) -> None:
    assert _correlation(np.array(one, float), np.array(other, float)) == pytest.approx(expected)


def test_not_a_number_is_refused(shared: SharedFiles) -> None:
    path = exported(shared, "float32")

    class Broken:
        """The same file, with one value that is none."""

        def __init__(self) -> None:
            self.session = session(path)

        def run(self, names: list[str], feed: dict) -> list[np.ndarray]:
            results = self.session.run(names, feed)
            results[names.index("gradients")][0, 0, 0, 0] = np.nan
            return results

    feeds = [{"images": PHOTOS[:2].numpy(), "target": np.array([-1, -1])}]
    with pytest.raises(
        ParityError, match="'gradients' of the int8 graph has values that are not finite"
    ):
        agreement(session(path), Broken(), feeds)
