"""The detectors of DETECTORS.md: what makes each,
with random weights and woken batch-norm statistics."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from camport.models import load_model

SIZE = (128, 160)
SMALL = {"min_size": 112, "max_size": 192}
"""So that images are resized and padded inside."""
TORCHVISION: dict[str, dict[str, Any]] = {
    "ssdlite320_mobilenet_v3_large": {},
    "retinanet_resnet50_fpn": SMALL,
    "fcos_resnet50_fpn": SMALL,
    "fasterrcnn_resnet50_fpn": SMALL,
    "maskrcnn_resnet50_fpn": SMALL,
}


def yolo(spec: str) -> Callable[[], nn.Module]:
    return lambda: load_model(spec).model


def torchvision(name: str) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        from torchvision.models import detection

        return getattr(detection, name)(
            weights=None, weights_backbone=None, num_classes=11, **TORCHVISION[name]
        )

    return made


def detr() -> nn.Module:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic"
    )
    backbone.out_features = ["stage4"]
    sides = {
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    }
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        num_queries=20,
        num_labels=10,
        init_std=0.2,
        **sides,
    )
    return DetrForObjectDetection(config)


def yolos() -> nn.Module:
    from transformers import YolosConfig, YolosForObjectDetection

    sides = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
    }
    config = YolosConfig(
        image_size=list(SIZE), patch_size=16, num_detection_tokens=20, num_labels=10, **sides
    )
    config.initializer_range = 0.2
    config.use_mid_position_embeddings = False
    return YolosForObjectDetection(config)


DETECTORS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "yolov5: yolov5n": ("yolov5", yolo("yolov5:yolov5n.yaml")),
    **{
        f"ultralytics: {name}": ("ultralytics", yolo(f"ultralytics:{name}.yaml"))
        for name in ("yolov5n", "yolov8n", "yolo11n", "yolov10n", "rtdetr-l", "yolov8n-seg")
    },
    **{f"torchvision: {name}": ("torchvision", torchvision(name)) for name in TORCHVISION},
    "transformers: DETR": ("transformers", detr),
    "transformers: YOLOS": ("transformers", yolos),
}
"""Name -> the package it needs, and what makes it."""


def awake(model: nn.Module) -> nn.Module:
    """Batch norm's statistics as training leaves them,
    so that features vary from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=generator)
        # deformable attention begins exactly between cells, where sampling has two derivatives;
        # training leaves there
        offsets = getattr(module, "sampling_offsets", None)
        if isinstance(offsets, nn.Linear):
            offsets.bias.data += 0.2 * torch.randn(offsets.bias.shape, generator=generator)
    return model.eval()


def detector(name: str) -> tuple[nn.Module, Tensor]:
    """The detector of this name, the same each time, and two images for it."""
    torch.manual_seed(0)
    model = awake(DETECTORS[name][1]())
    return model, torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
