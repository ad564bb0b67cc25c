"""Files of detectors, segmentations and answerers refuse what eager PyTorch refuses,
and agree with it elsewhere."""

import numpy as np
import pytest
import torch
import transformers

import camport
from benchmarks.detectors.detection import cases
from camport.adapters import SegmentationAdapter
from camport.demo.detector import load as load_detector
from camport.errors import InputError
from camport.export import to_onnx
from camport.runtime import load

SIZE = (48, 64)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    """Logits of a quarter of the image's size."""
    torch.manual_seed(3)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        num_labels=4,
        initializer_range=0.3,
    )
    x = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    x[1] *= 0.3
    x[2, :, :24] = 0
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    bound = camport.bind(model, "layercam", adapter=SegmentationAdapter(background=None))
    path = tmp_path_factory.mktemp("segformer") / "segformer.onnx"
    to_onnx(bound, path, x[:1])
    return bound, x, load(path)


@pytest.mark.parametrize("kind", ["predicted", "weights", "both"])
@pytest.mark.everything
def test_a_coarse_segmentation_explains_the_region_that_pytorch_explains(segformer, kind):
    bound, x, explainer = segformer
    mask = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(4))
    mask[0 if kind == "both" else slice(0, 0)] = -1
    mask = torch.full_like(mask, -1.0) if kind == "predicted" else mask
    eager = bound(x, {"class": -1, "mask": mask})
    found = explainer(x.numpy(), target=-1, mask=mask.numpy())
    np.testing.assert_allclose(found.score, eager.score.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.heatmap, eager.heatmap.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"target": 4}, "target 4 of image 0 is out of range: the graph has 4 classes, 0 to 3"),
        ({"target": -2}, "target -2 of image 0 is out of range"),
        ({"mask": np.zeros(SIZE)}, "mask of image 0 is empty; mark at least one pixel"),
        ({"mask": np.full(SIZE, -0.5)}, "mask of image 0 has values down to -0.5"),
        ({"mask": np.full(SIZE, np.nan)}, "mask has values that are not finite"),
    ],
)
def test_wrong_regions(segformer, target, says):
    bound, x, explainer = segformer
    with pytest.raises(InputError, match=says):
        explainer(x[:1].numpy(), **{"target": 1, "mask": np.full(SIZE, -1), **target})
    eager = {
        "class": target.get("target", 1),
        "mask": torch.as_tensor(target.get("mask", np.full(SIZE, -1.0))),
    }
    with pytest.raises(InputError):
        bound(x[:1], eager)


def test_a_class_that_is_predicted_nowhere(segformer):
    bound, x, explainer = segformer
    absent = next(c for c in range(4) if not bool((_upsampled(bound, x[2:]).argmax(1) == c).any()))
    with pytest.raises(InputError, match=f"predicts class {absent} nowhere in image 0"):
        bound(x[2:], absent)
    with pytest.raises(
        InputError, match="predicts the class nowhere in image 0; name another class, or a region"
    ):
        explainer(x[2:].numpy(), target=absent, mask=np.full(SIZE, -1))


def _upsampled(bound, x):
    with torch.no_grad():
        return torch.nn.functional.interpolate(bound.model(x).logits, SIZE, mode="bilinear")


@pytest.fixture(scope="module")
def detector(shared):
    bound = camport.bind(load_detector(), adapter="detection")
    traced = torch.cat([image for image, _ in cases(6)[:2]])
    folder, _ = shared(
        "detector-nms", lambda folder: to_onnx(bound, folder / "odam.onnx", traced, nms=True)
    )
    x = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    return bound, x, load(folder / "odam.onnx")


@pytest.mark.parametrize(
    ("box", "c", "says"),
    [
        (
            (10, 10, 50, 50),
            99,
            "class_ids 99 of image 0 is out of range: the graph has 10 classes, 0 to 9",
        ),
        ((10, 10, 50, 50), -5, "class_ids -5 of image 0 is out of range"),
        ((50, 10, 10, 50), 1, r"box \(50, 10, 10, 50\) of row 0 has no area; wanted left < right"),
        (
            (200, 200, 300, 300),
            1,
            r"box \(200, 200, 300, 300\) of row 0 lies outside the image, which is 128 wide",
        ),
    ],
)
def test_wrong_boxes(detector, box, c, says):
    bound, x, explainer = detector
    with pytest.raises(InputError, match=says):
        explainer(x.numpy(), boxes=np.array([box], np.float32), class_ids=c)
    with pytest.raises(InputError):
        bound(x, {"boxes": [box], "class_ids": [c]})


def test_a_box_of_zeros_is_the_best_candidate(detector):
    bound, x, explainer = detector
    found = explainer(x.numpy(), boxes=np.zeros((1, 4), np.float32), class_ids=-1)
    with torch.no_grad():
        prepared = bound.adapter.prepare(None, x)
        outputs = bound.adapter.ask(bound.model, x, prepared)
        best = bound.adapter.resolve(outputs, prepared)
    eager = bound(x, {"index": best["index"], "class_ids": best["class_ids"]})
    np.testing.assert_allclose(found.score, eager.score.numpy(), rtol=1e-5)
    np.testing.assert_allclose(found.heatmap, eager.heatmap.numpy(), atol=1e-5)
