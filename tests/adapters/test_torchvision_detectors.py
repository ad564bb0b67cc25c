"""torchvision's detectors: the numbers of their heads are those behind their own detections."""

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.ops import MultiScaleRoIAlign

import camport
from camport.adapters import DetectionAdapter
from camport.adapters.detection.boxes import overlap
from camport.adapters.detection.torchvision_two_stage import pooled

pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)
SMALL = {"min_size": 96, "max_size": 160}
MAKE = {
    "ssdlite320_mobilenet_v3_large": {"num_classes": 5, "score_thresh": 0.0},
    "retinanet_resnet50_fpn": {"num_classes": 5, "score_thresh": 0.0, **SMALL},
    "fcos_resnet50_fpn": {"num_classes": 5, "score_thresh": 0.0, **SMALL},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"num_classes": 5, "box_score_thresh": 0.0, **SMALL},
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, **MAKE[name])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", MAKE)
def test_candidates_are_what_the_model_detects(name):
    """Each of the model's own detections is a candidate with its box (clipped to the image) and its
    score."""
    model = made(name)
    images = torch.rand(1, 3, 100, 150, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        own = model(list(images))[0]
    bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=3))
    shown = bound(images)
    assert shown.heatmap.shape[1:] == (100, 150)
    assert bool(shown.heatmap.isfinite().all())
    two_stage = "rcnn" in name
    with torch.no_grad():
        found = bound.adapter._candidates(bound.adapter.call(model, images))
    low, high = torch.zeros(4), torch.tensor([150.0, 100, 150, 100])
    for box, label, score in zip(own["boxes"][:5], own["labels"], own["scores"], strict=False):
        if two_stage:  # the second stage says anew what is in the corrected box
            assert float(overlap(box, found.boxes[0]).max()) > 0.99
            continue
        clipped = found.boxes[0].clamp(min=low, max=high)
        off = (clipped - box).abs().amax(1) + 100 * (found.probability[0, :, label] - score).abs()
        assert float(off.min()) < 0.02


@pytest.mark.parametrize(
    "name", ["retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"]
)
def test_layers_are_the_pyramids_levels(name):
    bound = camport.bind(made(name), adapter=DetectionAdapter(threshold=0.0, most=1))
    bound(torch.rand(1, 3, 100, 150))
    assert set(bound.layers) >= {"backbone.fpn.layer_blocks.0", "backbone.fpn.layer_blocks.1"}


def test_the_users_boxes_go_into_the_second_stage():
    model = made("fasterrcnn_mobilenet_v3_large_320_fpn")
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(2))
    boxes = torch.tensor([[10.0, 10, 60, 70], [12.0, 12, 58, 72], [64.0, 20, 120, 90]])
    bound = camport.bind(model, "layercam", adapter=DetectionAdapter())
    found = bound(images, {"boxes": boxes, "class_ids": [1, 2, 3]})
    torch.testing.assert_close(found.figures["boxes"], boxes, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        inputs, _ = model.transform(list(images))
        features = model.backbone(inputs.tensors)
        scale = torch.tensor(
            [inputs.image_sizes[0][1] / 128, inputs.image_sizes[0][0] / 96]
        ).repeat(2)
        heads = model.roi_heads
        logits, _ = heads.box_predictor(
            heads.box_head(heads.box_roi_pool(features, [boxes * scale], inputs.image_sizes))
        )
    torch.testing.assert_close(
        found.score, logits[torch.arange(3), torch.tensor([1, 2, 3])], rtol=1e-4, atol=1e-5
    )


def test_boxes_are_cut_out_of_the_maps_as_roi_align_does():
    generator = torch.Generator().manual_seed(0)
    maps = {
        str(i): torch.randn(1, 4, 64 // 2**i, 96 // 2**i, generator=generator).double()
        for i in range(4)
    }
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    corner = torch.rand(40, 2, generator=generator).double() * torch.tensor([340.0, 220.0]) - 10
    boxes = torch.cat(
        [corner, corner + torch.rand(40, 2, generator=generator).double() * 300 + 1], 1
    )
    expected = pool(maps, [boxes], [(256, 384)])
    torch.testing.assert_close(pooled(list(maps.values()), boxes[None], (256, 384), pool), expected)
