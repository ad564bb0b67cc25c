"""Layers, grids and outputs of transformers' and timm's models, made from small configurations."""

import pytest
import torch

import camport
from tests.marks import rare

transformers = pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
timm = pytest.importorskip("timm")
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "num_labels": 5,
}


def vit():
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=48, patch_size=8, **SMALL)
    )


def dinov2():
    return transformers.Dinov2ForImageClassification(
        transformers.Dinov2Config(image_size=48, patch_size=8, **SMALL)
    )


def swin():
    config = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 2],
        num_heads=[2, 2],
        window_size=4,
        num_labels=5,
    )
    return transformers.SwinForImageClassification(config)


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], num_labels=5, layer_type="basic"
    )
    return transformers.ResNetForImageClassification(config)


def convnext():
    return transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 2], num_labels=5)
    )


@pytest.mark.parametrize(
    ("make", "size", "maps", "layer"),
    [
        (vit, (48, 48), (32, 6, 6), "layernorm_before"),
        (dinov2, (48, 48), (32, 6, 6), "norm1"),
        (swin, (64, 64), (32, 8, 8), ""),
        (resnet, (64, 64), (16, 8, 8), ""),
        (convnext, (64, 64), (16, 8, 8), ""),
        (
            lambda: timm.create_model("deit_tiny_patch16_224", img_size=64),
            (64, 64),
            (192, 4, 4),
            "norm1",
        ),
        (lambda: timm.create_model("resnet10t", num_classes=5), (64, 64), (512, 2, 2), ""),
        (lambda: timm.create_model("mobilevit_xxs", num_classes=5), (64, 64), (320, 2, 2), ""),
    ],
    ids=[
        "hf-vit",
        "hf-dinov2",
        "hf-swin",
        "hf-resnet",
        "hf-convnext",
        "timm-deit",
        "timm-resnet",
        "timm-mobilevit",
    ],
)
def test_layer_grid_and_gradient(make, size, maps, layer):
    torch.manual_seed(1)
    model = make()
    # heads and scales that are initialised to nearly 0 would hide a wrong gradient
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    x = torch.randn(2, 3, *size)
    explanation = camport.explain(model, x, "hirescam", target=torch.tensor([1, 4]))
    assert tuple(explanation.activations[0].shape) == (2, *maps)
    assert explanation.gradients[0].flatten(1).norm(dim=1).min() > 0
    assert layer in explanation.layers[0]
    logits = (
        explanation.outputs.logits
        if hasattr(explanation.outputs, "logits")
        else explanation.outputs
    )
    assert torch.allclose(explanation.score, logits[[0, 1], [1, 4]])


@pytest.mark.parametrize(
    ("name", "size", "layer", "maps"),
    [
        # no attention: tokens behind the patches' maps
        ("resmlp_12_224", 224, "norm", (384, 14, 14)),
        *rare(
            # attention's matrices are no maps
            ("cait_xxs24_224", 224, "blocks_token_only.1.norm1", (192, 14, 14)),
            # patches of the image, resized inside
            ("crossvit_tiny_240", 240, "blocks.2.fusion.1.norm1", (96, 20, 20)),
            ("convit_tiny", 224, "blocks.11.norm1", (192, 14, 14)),
            ("coat_lite_tiny", 224, "serial_blocks4.1.norm1", (320, 7, 7)),
            # the block is no attention
            ("xcit_nano_12_p16_224", 224, "cls_attn_blocks.1.norm1", (128, 14, 14)),
            ("levit_128s", 224, "stages.2.blocks.2", (384, 4, 4)),  # 3.5 cells a side
            # overlapping patches, pooled
            ("pit_ti_224", 224, "transformers.2.blocks.3.norm1", (256, 7, 7)),
        ),
    ],
)
def test_layer_chosen_for_relatives_of_vit(name, size, layer, maps):
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=5).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    explanation = camport.explain(model, torch.randn(1, 3, size, size), "hirescam", target=2)
    assert explanation.layers == (layer,)
    assert tuple(explanation.activations[0].shape) == (1, *maps)
    assert bool(explanation.gradients[0].abs().sum((1, 2, 3)) > 0)


def test_rectangular_images_of_a_transformer():
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=(32, 48), patch_size=8, **SMALL)
    )
    explanation = camport.explain(model, torch.randn(1, 3, 32, 48), "feature_maps")
    assert tuple(explanation.activations[0].shape) == (1, 32, 4, 6)
