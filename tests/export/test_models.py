"""Networks of torchvision at a small size: the file matches float64 as well as eager PyTorch
does."""

from pathlib import Path

import pytest
import torch
import torchvision
from programs import Bound, CamProgram, keep, randomise, tokens

from camport.export import to_onnx

CASES = [
    ("resnet18", "layer2", 65, keep),
    ("vgg11", "features.18", 64, keep),
    ("mobilenet_v3_small", "features.12", 64, keep),
    ("mobilenet_v3_small", "features.4", 64, keep),
    ("densenet", "features.denseblock4", 64, keep),
    ("vit", "encoder.layers.encoder_layer_3.ln_1", 64, tokens),
    ("shufflenet_v2_x0_5", "stage3", 64, keep),
    ("squeezenet1_1", "features.9", 64, keep),
]


@pytest.mark.everything
@pytest.mark.parametrize(("name", "layer", "size", "reshape"), CASES)
def test_torchvision(tmp_path: Path, name: str, layer: str, size: int, reshape) -> None:
    torch.manual_seed(0)
    if name == "vit":
        model = torchvision.models.VisionTransformer(
            size, 16, num_layers=4, num_heads=3, hidden_dim=48, mlp_dim=96
        )
    elif name == "densenet":
        model = torchvision.models.DenseNet(
            growth_rate=8, block_config=(2, 3, 3, 3), num_init_features=16
        )
    else:
        model = getattr(torchvision.models, name)(weights=None)
    model = randomise(model)
    for parameter in model.parameters():
        if parameter.dim() == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    report = to_onnx(
        Bound(CamProgram(model, layer, reshape)),
        tmp_path / "model.onnx",
        torch.randn(1, 3, size, size),
    )
    assert report.lowered < 1e-9
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert report.bytes <= 1.02 * weights + 200_000
