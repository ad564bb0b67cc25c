"""The photographs with boxes: each file, class and box, and what maps reach on them."""

import numpy as np
import pytest
import torch

import camport
from camport.demo import carried, imagenet
from camport.demo.photographs import SOURCES, batches, photograph, photographs
from camport.errors import InputError, MissingDependencyError, UnknownNameError
from camport.metrics import EnergyInRegion, PointingGame
from camport.metrics.evaluation import evaluate
from camport.models import load_model
from camport.runtime import Preprocess


@pytest.fixture(scope="module")
def loaded():
    return load_model("demo:imagenet")


def test_every_question_has_its_class_and_boxes_in_the_picture():
    labels, found = imagenet.labels(), list(photographs())
    assert len({one.name for one in found}) == len(SOURCES) == 9
    assert len(found) == 11
    for one in found:
        assert labels[one.target] == one.label
        for x0, y0, x1, y1 in one.boxes:
            assert 0 <= x0 < x1 <= one.image.width, one.name
            assert 0 <= y0 < y1 <= one.image.height, one.name
        assert SOURCES[one.name].licence


def test_the_network_can_say_each_class(loaded):
    """Among its ten likeliest of a thousand."""
    with torch.inference_mode():
        logits = torch.cat([loaded.model(images) for images, _, _ in batches(loaded.preprocess)])
    for one, row in zip(photographs(), logits, strict=True):
        assert one.target in row.topk(10).indices, one.label


def test_a_region_is_the_box_in_the_networks_frame(loaded):
    """512 x 512 becomes 256 x 256, of which 16 pixels are cut off on each side."""
    one = next(found for found in photographs() if found.name == "camera")
    _, placement = loaded.preprocess.apply(one.image)
    (x0, y0, x1, y1), wanted = one.boxes[0], np.zeros((224, 224), dtype=bool)
    assert (x0, y0, x1, y1) == (230, 187, 405, 512)
    wanted[77:224, 99:186] = True  # centres from 77.5 = 187 / 2 - 16 on, and between 99 and 186.5
    np.testing.assert_array_equal(one.region(placement), wanted)


def test_two_boxes_are_one_region(loaded):
    one = next(found for found in photographs() if found.name == "flower")
    _, placement = loaded.preprocess.apply(one.image)
    apart = [np.zeros((224, 224), dtype=bool), np.zeros((224, 224), dtype=bool)]
    for region, box in zip(apart, one.boxes, strict=True):
        x0, y0, x1, y1 = placement.boxes_to_network(np.array([box]))[0]
        region[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = True
    np.testing.assert_array_equal(one.region(placement), apart[0] | apart[1])
    assert apart[1].any()
    assert not (apart[0] & apart[1]).any()


def test_what_grad_cam_reaches(loaded):
    """Nine of eleven maps have their maximum in a box, where chance is 0.43;
    the misses are small parts."""
    metrics = {"near": PointingGame(15), "strict": PointingGame(), "energy": EnergyInRegion()}
    found = evaluate(camport.bind(loaded.model, "gradcam"), batches(loaded.preprocess), metrics)
    assert found.images == 11
    assert found.flat == 0
    assert found.scores == pytest.approx(
        {"near": 9 / 11, "strict": 9 / 11, "energy": 0.62}, abs=0.01
    )
    assert found.chance == pytest.approx(0.43, abs=0.01)


def test_batches_are_of_the_size_asked_for(loaded):
    found = [
        (tuple(i.shape), t.tolist(), tuple(r.shape)) for i, t, r in batches(loaded.preprocess, 5)
    ]
    assert [shapes[0] for shapes in found] == [(5, 3, 224, 224), (5, 3, 224, 224), (1, 3, 224, 224)]
    assert [shapes[2] for shapes in found] == [(5, 224, 224), (5, 224, 224), (1, 224, 224)]
    assert [target for _, targets, _ in found for target in targets] == [
        one.target for one in photographs()
    ]


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'chelsea'"):
        photograph("chelsae")
    with pytest.raises(
        InputError, match=r"a batch needs a Preprocess with one size, e.g. \(224, 224\)"
    ):
        next(batches(Preprocess()))
    with pytest.raises(InputError, match="size is 0; a batch has one question or more"):
        next(batches(Preprocess(size=(224, 224)), 0))
    monkeypatch.setattr(carried, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError,
        match=r"^scikit-image carries data/chelsea.png and is not installed: pip",
    ):
        next(photographs())
