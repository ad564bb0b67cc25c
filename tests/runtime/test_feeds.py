"""Inputs: what is converted, and that every wrong one is named with value, shape and remedy."""

import numpy as np
import pytest

from camport.errors import InputError, ModelError, UnknownNameError
from camport.runtime import class_index, load
from camport.targets.asked import check_asked

LABELS = ["tench", "tabby, tabby cat", "crane", "crane"]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, 3, 4, 6), dtype=np.float32)


@pytest.fixture
def explainer(write):
    return load(write(labels=LABELS))


def test_targets_in_every_form(explainer, images) -> None:
    free = explainer(images)
    assert np.array_equal(free.score, free.outputs.max(1))
    for target in (2, [2, 2, 2], np.array([2, 2, 2], np.int32), np.int64(2), (2, 2, 2)):
        assert np.array_equal(explainer(images, target=target).score, free.outputs[:, 2])
    mixed = explainer(images, target=["tabby", 0, -1])
    assert np.array_equal(mixed.score, [free.outputs[0, 1], free.outputs[1, 0], free.score[2]])
    assert np.array_equal(explainer(images, target="Tench").score, free.outputs[:, 0])
    assert np.array_equal(explainer(images=images, target=[0, 1, 2]).score, np.diag(free.outputs))


def test_floats_are_cast_and_layout_does_not_matter(explainer, images) -> None:
    expected = explainer(images).heatmap
    assert np.array_equal(explainer(images.astype(np.float64)).heatmap, expected)
    assert np.array_equal(explainer(images.tolist()).heatmap, expected)
    turned = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(explainer(turned).heatmap, expected)


@pytest.mark.parametrize("b", [1, 2, 7])
def test_any_batch(explainer, b) -> None:
    assert explainer(np.ones((b, 3, 4, 4), np.float32)).heatmap.shape == (b, 4, 4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 4, 6), "f4"), r"float32 \[3,4,6\], rank 3; .* give a batch, images\[None\]"),
        (np.zeros((40, 60, 3), "f4"), r"float32 \[40,60,3\], rank 3; .*channels come first"),
        (np.zeros((4, 6), "f4"), r"rank 2; the graph takes images float32 \[b,3,H,W\]"),
        (np.zeros((1, 4, 6, 3), "f4"), r"\[1,4,6,3\].*transpose\(0, 3, 1, 2\)"),
        (np.zeros((1, 1, 6, 7), "f4"), r"\[1,1,6,7\].*repeat\(3, axis=1\)"),
        (np.zeros((1, 4, 6, 7), "f4"), r"\[1,4,6,7\].*4 channels instead of 3"),
        (
            np.zeros((1, 3, 4, 4), "u1"),
            r"uint8 \[1,3,4,4\], unscaled pixels.*preprocess\.apply.*scale to \[0,1\]",
        ),
        (np.zeros((1, 3, 4, 4), "i8"), "int64 .*unscaled"),
        (np.zeros((1, 3, 4, 4), "c8"), "complex64"),
        (np.zeros((0, 3, 4, 4), "f4"), r"\[0,3,4,4\], an empty batch"),
        ("photo.jpg", "images is a path, .photo.jpg.; the graph takes images float32"),
        ([[1.0], [1.0, 2.0]], "images is a list that is no array"),
        (np.full((1, 3, 4, 4), 1e300), "48 in image 0 .0 NaN, 48 infinite"),
    ],
)
def test_wrong_images(explainer, bad, message) -> None:
    with pytest.raises(InputError, match=message):
        explainer(bad)


def test_values_that_are_not_finite(explainer, images) -> None:
    images[1, 0, 0, :2], images[2, 1, 1, 1] = np.nan, np.inf
    with pytest.raises(InputError, match=r"2 in image 1, 1 in image 2 \(2 NaN, 1 infinite\)"):
        explainer(images)


def test_static_size(write) -> None:
    explainer = load(write(shapes={"images": ["b", 3, 8, 8], "heatmap": ["b", 8, 8]}))
    assert explainer(np.zeros((2, 3, 8, 8), "f4")).heatmap.shape == (2, 8, 8)
    with pytest.raises(InputError, match=r"\[1,3,8,9\]; .*resize to 8x8 \(height x width\)"):
        explainer(np.zeros((1, 3, 8, 9), "f4"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, r"target 4 of image 0 is out of range: the graph has 4 classes, 0 to 3, or -1"),
        ([0, 1, -2], "target -2 of image 2 is out of range"),
        ([0, 1], r"target is int64 \[2\], 2 for 3 images: give one for all of them, or 3"),
        ([1], "1 for 3 images"),
        ([[1], [1], [1]], r"target is int64 \[3,1\], rank 2"),
        (1.5, r"target is float64 \[\]; the graph takes target int64"),
        (True, r"target is bool"),
        ("crane", r"2 classes, 2 \(crane\), 3 \(crane\)"),
    ],
)
def test_wrong_targets(explainer, images, target, message) -> None:
    with pytest.raises(InputError, match=message):
        explainer(images, target=target)


def test_names_of_classes(write, images) -> None:
    with pytest.raises(UnknownNameError, match="unknown label 'taby'; did you mean 'tabby'"):
        load(write(labels=LABELS))(images, target="taby")
    cats = ("tiger cat", "Egyptian cat", "Lynx, catamount")
    for given, meant in (("egyptian ct", "Egyptian cat"), ("catamont", "catamount")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{meant}'"):
            class_index(given, cats)
    with pytest.raises(InputError, match="'tabby' is a name, but no labels are known"):
        load(write())(images, target="tabby")
    assert class_index("281", None) == 281


def test_classes_are_known_from_the_outputs_or_the_labels(write, images) -> None:
    with pytest.raises(InputError, match="4 classes"):
        load(write())(images, target=4)
    explainer = load(write(labels=LABELS))
    explainer.outputs = ()
    with pytest.raises(InputError, match="4 classes"):
        explainer(images, target=4)


def test_what_the_engine_refuses_is_one_line(write, images, capfd) -> None:
    explainer = load(write())
    explainer._classes = lambda: None
    with pytest.raises(ModelError, match=r"x\.onnx failed to run: .*GatherElements") as caught:
        explainer(images, target=4)
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_unknown_and_missing_inputs(explainer, write, images) -> None:
    with pytest.raises(UnknownNameError, match="unknown input 'targets'; did you mean 'target'"):
        explainer(images, targets=1)
    with pytest.raises(
        InputError, match=r"images is missing; the graph takes images float32 \[b,3,H,W\], target"
    ):
        explainer(target=1)
    detector = load(write(inputs=("images", "boxes", "class_ids")))
    with pytest.raises(UnknownNameError, match="unknown input 'target'"):
        detector(images, target=1)
    with pytest.raises(InputError, match="boxes is missing"):
        detector(images)


def test_detection_inputs(write, images) -> None:
    explainer = load(write(inputs=("images", "boxes", "class_ids")))
    boxes = np.arange(12).reshape(3, 4)
    assert np.array_equal(explainer(images, boxes=boxes, class_ids=[1, 2, 3]).score, [7, 24, 41])
    assert np.array_equal(explainer(images, boxes=boxes).score, [5, 21, 37])
    assert np.array_equal(explainer(images, boxes=[0, 1, 2, 3], class_ids=0).score, [6, 6, 6])
    with pytest.raises(InputError, match=r"boxes is float32 \[2,4\], 2 for 3 images"):
        explainer(images, boxes=boxes[:2])
    with pytest.raises(
        InputError, match=r"boxes is float32 \[3,3\]; the graph takes boxes float32 \[b,4\]"
    ):
        explainer(images, boxes=boxes[:, :3])
    with pytest.raises(InputError, match="boxes has values that are not finite"):
        explainer(images, boxes=[0, 1, 2, np.nan])


def test_class_ids_are_checked_against_the_labels(write, images) -> None:
    explainer = load(write(inputs=("images", "boxes", "class_ids"), labels=LABELS))
    with pytest.raises(InputError, match="class_ids 9 of image 1 is out of range"):
        explainer(images, boxes=[0, 0, 1, 1], class_ids=[0, 9, 0])


def test_caption_inputs(write, images) -> None:
    explainer = load(write(inputs=("images", "tokens", "span")))
    result = explainer(images, tokens=np.ones((3, 5), int), span=[[1, 2], [2, 3], [-1, -1]])
    assert np.array_equal(result.score, [8, 10, 3])
    assert np.array_equal(explainer(images, tokens=[1, 2], span=[1, 2]).score, [6, 6, 6])
    for span in ([0, 1], [2, 2], [3, 6], [-1, 2]):
        with pytest.raises(
            InputError, match=r"span .* of image 0 is no part of the caption's 5 tokens: 1 <= start"
        ):
            explainer(images, tokens=np.ones((3, 5), int), span=span)
    with pytest.raises(
        InputError, match=r"tokens -1 of image 2 is out of range: tokens are 0 and up"
    ):
        explainer(images, tokens=[[1], [1], [-1]], span=[-1, -1])


def test_tokens_and_answers_are_checked_against_what_the_graph_says() -> None:
    def port(*shape):
        return {"outputs": shape}

    def adapter(words):
        return {"adapter": {"name": "x", "options": {"vocabulary": words}}}

    check_asked({"tokens": np.array([[0, 8]]), "against": np.array([8])}, port("b", 2, 9), {})
    check_asked(
        {"question": np.array([[1, 2]]), "answer": np.array([-1])},
        port("b", 4),
        adapter(["a", "b", "c"]),
    )
    with pytest.raises(
        InputError, match=r"tokens 9 of image 0 is out of range: the graph has 9 tokens, 0 to 8$"
    ):
        check_asked({"tokens": np.array([[0, 9]])}, port("b", 2, 9), {})
    with pytest.raises(
        InputError, match=r"against -1 of image 0 is out of range: the graph has 9 tokens"
    ):
        check_asked({"tokens": np.array([[0, 1]]), "against": np.array([-1])}, port("b", 2, 9), {})
    with pytest.raises(
        InputError, match=r"question 3 of image 1 is out of range: the graph has 3 words, 0 to 2$"
    ):
        check_asked(
            {"question": np.array([[1, 2], [1, 3]])}, port("b", 4), adapter(["a", "b", "c"])
        )
    with pytest.raises(
        InputError, match=r"answer 4 of image 0 .* 4 answers, 0 to 3, or -1 for the model's own"
    ):
        check_asked({"question": np.array([[1]]), "answer": np.array([4])}, port("b", 4), {})


def test_unnamed_axes_are_not_tied_together(write, images) -> None:
    explainer = load(write(shapes={"images": [None, 3, None, None], "target": [None]}))
    assert explainer(images, target=1).score.shape == (3,)


def test_nothing_the_user_owns_is_changed(explainer, images) -> None:
    before = images.copy()
    explainer(images, target=1)
    assert np.array_equal(images, before)
