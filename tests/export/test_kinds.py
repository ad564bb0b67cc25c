"""Models and images of other types than float32: cast where nothing is lost,
else refused in one clear sentence."""

import pytest
import torch
from programs import IMAGES, small
from torch import Tensor, nn

import camport
from camport.errors import ExportError
from camport.export import to_onnx, to_pt2, to_torchscript
from camport.runtime import load

WRITERS = [to_onnx, to_pt2, to_torchscript]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("write", WRITERS)
def test_a_model_in_another_precision_is_refused(write, kind, tmp_path):
    bound = camport.bind(small().to(kind), "gradcam", "2")
    word = str(kind).removeprefix("torch.")
    with pytest.raises(
        ExportError, match=rf"is {word}; files are written from a float32 model: model\.float\(\)"
    ):
        write(bound, tmp_path / "file", IMAGES.to(kind))
    assert not list(tmp_path.iterdir())


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x).float()


def test_an_autocast_within_the_model_is_refused(tmp_path):
    bound = camport.bind(Autocast(), "gradcam", "net.2")
    with pytest.raises(
        ExportError,
        match=r"computes in bfloat16 \(aten\.\S+ .*autocast or the cast out of its forward",
    ):
        to_onnx(bound, tmp_path / "file.onnx", IMAGES)
    assert not list(tmp_path.iterdir())


def test_images_of_another_type_are_cast(tmp_path):
    bound = camport.bind(small(), "gradcam", "2")
    to_onnx(bound, tmp_path / "file.onnx", IMAGES.double())
    result = load(tmp_path / "file.onnx")(IMAGES.numpy(), target=[3] * len(IMAGES))
    torch.testing.assert_close(
        torch.from_numpy(result.heatmap), bound(IMAGES, 3).heatmap, rtol=0, atol=1e-4
    )
