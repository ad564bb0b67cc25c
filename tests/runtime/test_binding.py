"""Inputs and outputs bound to the session's device: what is copied where, and how often."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from camport.errors import InputError, ModelError, UnknownNameError
from camport.runtime import Device, load
from camport.runtime import explainer as rooms

OUTPUTS = ["outputs", "score", "heatmap", "feature_maps"]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)


@pytest.fixture
def copies(monkeypatch) -> dict[str, list]:
    """What goes to which device and comes back from it, on a host that stands for one with CUDA."""
    seen: dict[str, list] = {"in": [], "out": []}
    value, binding, session = (
        onnxruntime.OrtValue,
        onnxruntime.IOBinding,
        onnxruntime.InferenceSession,
    )
    to_device, bind_output = value.ortvalue_from_numpy, binding.bind_output

    def ortvalue_from_numpy(array, kind="cpu", index=0):
        seen["in"].append((array.shape, kind, index))
        return to_device(array.copy())

    def bound(self, name, kind="cpu", index=0):
        seen["out"].append((name, kind, index))
        bind_output(self, name)

    cuda = "CUDAExecutionProvider"
    monkeypatch.setattr(value, "ortvalue_from_numpy", staticmethod(ortvalue_from_numpy))
    monkeypatch.setattr(binding, "bind_output", bound)
    monkeypatch.setattr(session, "get_providers", lambda self: [cuda, "CPUExecutionProvider"])
    monkeypatch.setattr(session, "get_provider_options", lambda self: {cuda: {"device_id": "1"}})
    return seen


def test_what_the_plain_run_gives(write, images) -> None:
    path = write()
    plain = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = plain.run(OUTPUTS, {"images": images, "target": np.array([1, -1])})
    explainer = load(path)
    assert explainer.device == Device("cpu", 0)
    result = explainer(images, target=[1, -1])
    assert list(result) == OUTPUTS
    for name, array in zip(OUTPUTS, wanted, strict=True):
        assert np.array_equal(result[name], array), name


def test_results_are_their_own(write, images) -> None:
    explainer = load(write())
    first = explainer(images)
    kept = {name: array.copy() for name, array in first.items()}
    for _ in range(3):
        explainer(images * 2)
    for name, array in first.items():
        assert np.array_equal(array, kept[name]), name
        array[...] = 0  # writable, as numpy's are


def test_only_what_is_wanted(write, images) -> None:
    explainer = load(write())
    whole = explainer(images)
    result = explainer(images, only=["heatmap", "score", "heatmap"])
    assert list(result) == ["heatmap", "score"]
    assert np.array_equal(result.heatmap, whole.heatmap)
    assert np.array_equal(result.score, whole.score)
    with pytest.raises(UnknownNameError, match="unknown output 'heatmaps'; did you mean 'heatmap'"):
        explainer(images, only=["heatmaps"])
    for nothing in ([], (), "heatmap"):
        with pytest.raises(
            InputError, match=r'only is .*give a list of outputs, e\.g\. \["heatmap"\]'
        ):
            explainer(images, only=nothing)


def test_on_a_device_every_input_goes_once_and_every_output_stays_until_it_is_asked_for(
    write, images, copies
) -> None:
    explainer = load(write())
    assert explainer.device == Device("cuda", 1)
    explainer(images, target=2)
    assert copies["in"] == [((2, 3, 4, 6), "cuda", 1), ((2,), "cuda", 1)]
    assert copies["out"] == [(name, "cuda", 1) for name in OUTPUTS]


def test_what_is_held_goes_once(write, images, copies) -> None:
    explainer = load(write())
    wanted = [explainer(images, target=target, only=["score"]).score for target in range(4)]
    copies["in"].clear()
    copies["out"].clear()
    held = explainer.hold(images)
    scores = [held(target, only=["score"]).score for target in range(4)]
    assert np.array_equal(scores, wanted)
    assert copies["in"] == [((2, 3, 4, 6), "cuda", 1), *[((2,), "cuda", 1)] * 4]
    assert copies["out"] == [("score", "cuda", 1)] * 4


def test_what_is_held_is_a_copy(write, images) -> None:
    explainer = load(write())
    wanted = explainer(images).heatmap
    held = explainer.hold(images)
    images[...] = 7
    assert np.array_equal(held().heatmap, wanted)


def test_what_is_held_is_checked_with_the_rest(write, images) -> None:
    explainer = load(write(labels=["a", "b", "c", "d"]))
    held = explainer.hold(images)
    assert np.array_equal(held("b").score, explainer(images, target=1).score)
    assert np.array_equal(held().score, explainer(images).score)
    with pytest.raises(InputError, match="3 for 2 images: give one for all of them, or 2"):
        held([0, 1, 2])
    with pytest.raises(InputError, match="target 4 of image 0 is out of range"):
        held(4)
    with pytest.raises(UnknownNameError, match="unknown input 'images'"):
        held(images=images)
    with pytest.raises(UnknownNameError, match="unknown output 'heat'"):
        held(only=["heat"])
    with pytest.raises(InputError, match="images is missing"):
        explainer.hold(None)
    with pytest.raises(UnknownNameError, match="unknown input 'imags'"):
        explainer.hold(images, imags=images)
    with pytest.raises(InputError, match="not finite"):
        explainer.hold(images * np.nan)


def test_further_inputs_are_held_too(write, images) -> None:
    explainer = load(write(inputs=("images", "boxes", "class_ids")))
    box = np.array([1, 2, 3, 4], np.float32)
    wanted = explainer(images, boxes=box, class_ids=5).score
    held = explainer.hold(images, boxes=box)
    assert np.array_equal(held(class_ids=5).score, wanted)
    with pytest.raises(InputError, match="boxes is missing"):
        explainer.hold(images)(class_ids=5)


def test_threads_share_what_is_held(write, images) -> None:
    explainer = load(write(), threads=1)
    held = explainer.hold(images)
    wanted = [held(target) for target in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for result, right in zip(pool.map(held, range(4)), wanted, strict=True):
                assert all(np.array_equal(result[name], right[name]) for name in OUTPUTS)


def test_a_device_that_takes_nothing_is_one_line(write, images, monkeypatch) -> None:
    def full(array, device):
        raise RuntimeError("out of memory\nand a page more")

    explainer = load(write())
    monkeypatch.setattr(rooms, "place", full)
    with pytest.raises(
        ModelError, match=r"x\.onnx: inputs cannot be copied to cpu: out of memory$"
    ):
        explainer(images)
