"""Networks of torchvision at a small size: the file matches float64 as well as eager PyTorch does."""

from pathlib import Path

import pytest
import torch
import torchvision
from programs import Bound, CamProgram, keep, randomise, tokens

from camport.export import to_onnx

CASES = [
    ("resnet18", "layer4", 64, keep),
    ("resnet18", "layer2", 65, keep),
    ("vgg11", "features.18", 64, keep),
    ("mobilenet_v3_small", "features.12", 64, keep),
    ("mobilenet_v3_small", "features.4", 64, keep),
    ("densenet121", "features.denseblock4", 64, keep),
    ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", 64, tokens),
    ("shufflenet_v2_x0_5", "stage3", 64, keep),
    ("squeezenet1_1", "features.9", 64, keep),
]


@pytest.mark.parametrize(("name", "layer", "size", "reshape"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_torchvision(tmp_path: Path, name: str, layer: str, size: int, reshape) -> None:
    torch.manual_seed(0)
    options = {"image_size": size, "num_layers": 12, "hidden_dim": 48, "mlp_dim": 96, "num_heads": 3, "patch_size": 16}
    if name == "vit_b_16":
        model = torchvision.models.VisionTransformer(**options)
    else:
        model = getattr(torchvision.models, name)(weights=None)
    model = randomise(model)
    for parameter in model.parameters():
        if parameter.dim() == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    report = to_onnx(Bound(CamProgram(model, layer, reshape)), tmp_path / "model.onnx", torch.randn(1, 3, size, size))
    assert report.lowered < 1e-9
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert report.bytes <= 1.02 * weights + 200_000
