"""A detector's own detections are explained as themselves,
at layers that do not depend on how they are asked about."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import detection

import camport
from camport.adapters import DetectionAdapter
from camport.adapters.detection.boxes import within
from camport.adapters.detection.calls import Seen
from camport.adapters.detection.formats import Form
from camport.targets.boxes import confident
from tests.marks import mostly_rare

pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)
SMALL = {"min_size": 96, "max_size": 160}
ONE_STAGE = {
    "ssd300_vgg16": {"score_thresh": 0.0},
    "ssdlite320_mobilenet_v3_large": {"score_thresh": 0.0},
    "retinanet_resnet50_fpn": {"score_thresh": 0.0, **SMALL},
}
FPN = tuple(f"backbone.fpn.layer_blocks.{i}" for i in range(4))
TWO_STAGE = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": FPN[:2],  # two levels of one size
    "maskrcnn_resnet50_fpn": FPN,
    "keypointrcnn_resnet50_fpn": FPN,
}


def made(name: str, **options: float) -> nn.Module:
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def picture() -> torch.Tensor:
    return torch.rand(1, 3, 100, 150, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", mostly_rare(ONE_STAGE, set(ONE_STAGE) - {"ssd300_vgg16"}))
@pytest.mark.everything
def test_detections_at_the_border_are_matched_to_themselves(name):
    """torchvision clips what it reports; a candidate reaches beyond the image,
    by several times its size at that."""
    model, images = made(name, **ONE_STAGE[name]), picture()
    with torch.no_grad():
        own = model(list(images))[0]
    sides = own["boxes"][:, 2:] - own["boxes"][:, :2]
    shown = ((sides > 0.5).all(1)).nonzero()[:30, 0]
    asked = {"boxes": own["boxes"][shown], "class_ids": own["labels"][shown]}
    at_border = (asked["boxes"][:, :2] <= 0).any(1) | (
        asked["boxes"][:, 2:] >= torch.tensor([150.0, 100.0])
    ).any(1)
    assert int(at_border.sum()) > 5
    found = camport.bind(model, "layercam", adapter="detection")(images, asked)
    torch.testing.assert_close(
        found.figures["confidence"], own["scores"][shown], rtol=1e-4, atol=1e-5
    )
    assert float(found.figures["iou"].min()) > 0.99


@pytest.mark.everything
# a norm sees no length: products cancel
@pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning")
def test_a_level_that_a_function_scales_is_explained_at_its_maker():
    """SSD300's finest level is normalised and scaled in `forward`:
    4 x 38 x 38 of its 8732 candidates."""
    model, images = made("ssd300_vgg16"), picture()
    bound = camport.bind(model, "layercam", adapter="detection")
    index = torch.tensor([100, 3000, 5700, 5800, 8000])
    found = bound(images, {"index": index, "class_ids": [1, 2, 3, 1, 2]})
    assert bound.layers == ("backbone.features", *(f"backbone.extra.{i}" for i in range(5)))
    assert found.activations[0].shape[2:] == (38, 38)
    for row, level in enumerate((0, 0, 0, 1, 1)):
        assert float(found.gradients[level][row].abs().max()) > 0


@pytest.mark.parametrize("name", mostly_rare(TWO_STAGE, ("fasterrcnn_mobilenet_v3_large_320_fpn",)))
def test_a_given_box_and_a_listed_one_have_the_same_layers(name):
    """Where a box is given the region proposals are not computed."""
    model, images = made(name, box_score_thresh=0.0, **SMALL), picture()
    listing = camport.bind(model, "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))
    listed = listing(images)
    box = torch.tensor([[20.0, 15.0, 90.0, 80.0]])
    bounds = [camport.bind(model, "layercam", adapter="detection"), listing]
    one, other = (bound(images, {"boxes": box, "class_ids": 2}) for bound in bounds)
    assert listed.layers == one.layers == other.layers == TWO_STAGE[name]
    torch.testing.assert_close(one.raw, other.raw)


TABLE = [[-60.0, 10, 20, 50], [2, 12, 20, 48], [30, 30, 200, 90], [-40, -40, -10, -10]]


def seen(p: list[float]) -> Seen:
    boxes = torch.tensor(TABLE)
    rows = torch.cat(
        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], torch.tensor(p)[:, None]],
        1,
    )
    return Seen(rows[None], (64, 96))


@pytest.mark.parametrize(
    ("box", "index", "iou"),
    [
        ((0, 10, 20, 50), 0, 1.0),
        ((30, 30, 96, 64), 2, 1.0),
        ((-60, 10, 20, 50), 0, 1.0),  # as a program writes it that does not clip
        ((2, 12, 20, 48), 1, 1.0),
    ],
)
def test_boxes_are_compared_inside_the_image(box, index, iou):
    adapter = DetectionAdapter(form=Form("rows", 1))
    outputs = seen([0.6, 0.6, 0.5, 0.9])
    target = {"boxes": torch.tensor([box], dtype=torch.float32), "class_ids": torch.tensor([0])}
    resolved = adapter.resolve(outputs, target)
    assert resolved["index"].tolist() == [index]
    assert float(resolved["iou"]) == pytest.approx(iou)
    assert float(adapter.probability(outputs, resolved)) == pytest.approx([0.6, 0.6, 0.5][index])
    edge = {"name": "detection", "options": adapter.options()}
    edge["options"]["form"] = {"format": "rows", "classes": 1}
    result = {"outputs": outputs.outputs.numpy()}
    same = confident(result, edge, (64, 96), target["boxes"].numpy(), np.array([0]))
    np.testing.assert_allclose(same.boxes[0], TABLE[index])


def test_a_box_that_lies_outside_stays_as_it_is():
    frame = torch.tensor([96.0, 64.0, 96.0, 64.0])
    boxes = torch.tensor([[-5.0, 3, 100, 70], [-40, -40, -10, -10], [97, 0, 99, 10]])
    expected = torch.tensor([[0.0, 3, 96, 64], [-40, -40, -10, -10], [97, 0, 99, 10]])
    torch.testing.assert_close(within(boxes, frame), expected)
