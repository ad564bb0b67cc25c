import builtins

import numpy as np
import pytest

from camport.demo import carried, scenes
from camport.demo.scenes import LABELS, PHOTOGRAPHS, PLURALS, Digit, Scene, make_scene, scene_arrays
from camport.errors import InputError, MissingDependencyError

SEEDS = range(40)


@pytest.fixture(scope="module", params=["train", "held-out"])
def many(request: pytest.FixtureRequest) -> list[Scene]:
    return [make_scene(seed, split=request.param, size=64 if seed % 2 else 128) for seed in SEEDS]


def digit(label: int, x: float, y: float) -> Digit:
    return Digit(label, (float(x), float(y), x + 10.0, y + 12.0), np.zeros((64, 64), dtype=bool))


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_a_scene_is_a_function_of_its_seed(split):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    first, again, other = (make_scene(seed, split=split) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    assert [d.box for d in first.digits] == [d.box for d in again.digits]
    assert (first.caption, first.questions) == (again.caption, again.questions)
    assert not np.array_equal(first.image, other.image)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_images_are_rgb_bytes_of_the_asked_size(many):
    for seed, scene in zip(SEEDS, many, strict=True):
        size = 64 if seed % 2 else 128
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8


def test_masks_fill_boxes_that_lie_inside_the_image(many):
    for scene in many:
        size = scene.image.shape[0]
        for d in scene.digits:
            x0, y0, x1, y1 = (int(v) for v in d.box)
            assert 0 <= x0 < x1 <= size
            assert 0 <= y0 < y1 <= size
            assert d.mask.shape == (size, size)
            rows, columns = np.nonzero(d.mask)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (
                x0,
                y0,
                x1,
                y1,
            )
            assert 0.1 < d.mask[y0:y1, x0:x1].mean() < 0.95


def test_boxes_do_not_overlap(many):
    for scene in many:
        covered = np.zeros(scene.image.shape[:2], dtype=int)
        for d in scene.digits:
            x0, y0, x1, y1 = (int(v) for v in d.box)
            covered[y0:y1, x0:x1] += 1
        assert covered.max() == 1


def test_digits_stand_out_from_what_lies_around_them(many):
    for scene in many:
        light = scene.image @ np.array([0.299, 0.587, 0.114]) / 255
        for d in scene.digits:
            x0, y0, x1, y1 = (int(v) for v in d.box)
            box, strokes = light[y0:y1, x0:x1], d.mask[y0:y1, x0:x1]
            assert abs(np.median(box[strokes]) - box[~strokes].mean()) > 0.15


def test_labels_and_counts_are_valid_and_all_occur(many):
    assert {len(scene.digits) for scene in many} == {1, 2, 3, 4, 5}
    assert {d.label for scene in many for d in scene.digits} == set(range(10))


def test_digits_stand_from_left_to_right(many):
    for scene in many:
        centres = [d.box[0] + d.box[2] for d in scene.digits]
        assert centres == sorted(centres)


def test_questions_are_answered_by_the_digits(many):
    for scene in many:
        labels = [d.label for d in scene.digits]
        answers = dict(scene.questions)
        assert answers["how many digits?"] == str(len(labels))
        for question, answer in scene.questions:
            subject = question.removesuffix("?").split()[-1]
            if subject in PLURALS:
                assert answer == str(labels.count(PLURALS.index(subject)))
            elif subject in LABELS:
                assert answer == ("yes" if LABELS.index(subject) in labels else "no")
        if len(labels) > 1:
            assert answers["which digit is leftmost?"] == LABELS[labels[0]]
            top = min(scene.digits, key=lambda d: d.box[1] + d.box[3])
            assert answers["which digit is topmost?"] == LABELS[top.label]


@pytest.mark.parametrize(
    ("digits", "caption"),
    [
        ([digit(8, 5, 5)], "an eight"),
        ([digit(2, 10, 40), digit(7, 14, 4)], "a seven above a two"),
        ([digit(7, 10, 4), digit(2, 14, 40)], "a seven above a two"),
        ([digit(4, 2, 20), digit(4, 40, 4)], "a four left of a four"),
        (
            [digit(4, 2, 9), digit(8, 20, 9), digit(0, 40, 9)],
            "a four, an eight and a zero from left to right",
        ),
    ],
)
def test_captions(digits, caption):
    assert scenes.describe(tuple(digits)) == caption


def test_splits_share_no_photograph_and_no_scan():
    assert not set(PHOTOGRAPHS["train"]) & set(PHOTOGRAPHS["held-out"])
    train, held_out = (
        {scan.tobytes() for scan in scenes._scans(split)[0]} for split in PHOTOGRAPHS
    )
    assert len(train) + len(held_out) == 1797
    assert not train & held_out


def test_arrays_hold_the_same_scenes():
    images, presence = scene_arrays([7, 8], split="held-out", size=64, digits=2)
    scene = make_scene(8, split="held-out", size=64, digits=2)
    np.testing.assert_array_equal(images[1], scene.image)
    assert set(np.flatnonzero(presence[1])) == {d.label for d in scene.digits}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split 'test'"),
        ({"digits": 6}, "1 to 5 digits; got 6"),
        ({"size": 8}, "size=8"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        make_scene(**{"seed": 0, **arguments})


def test_without_scikit_learn_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        MissingDependencyError, match=r'scikit-learn.*pip install "camport\[demo\]"'
    ):
        scenes._scans.__wrapped__("train")


def test_without_scikit_image_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(carried, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r'scikit-image.*pip install "camport\[demo\]"'
    ):
        scenes._read_photograph("skimage/data/coffee.png")


def test_a_photograph_that_a_wheel_lacks_is_never_downloaded():
    with pytest.raises(
        MissingDependencyError, match=r"scikit-image does not contain data/eagle.png"
    ):
        scenes._read_photograph("skimage/data/eagle.png")
