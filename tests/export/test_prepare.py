"""Preprocessing in the graph: what camport.runtime does to a photograph, done by the file."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from PIL import Image
from programs import IMAGES, Bound, CamProgram, small

from camport import runtime
from camport.errors import ExportError
from camport.export import to_onnx
from camport.export.onnx_file import preprocessing
from camport.export.onnx_file.ort import session
from camport.runtime import Preprocess
from tests.marks import rare

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SPECS = [
    Preprocess(size=(33, 40), **IMAGENET),
    Preprocess(size=(33, 40), fit="crop", resize=45, interpolation="bicubic", **IMAGENET),
    Preprocess(size=(40, 33), fit="crop"),
    Preprocess(size=(33, 40), fit="letterbox", scale=1.0, pad=7),
    Preprocess(
        size=(33, 40),
        fit="letterbox",
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.1, 0.2, 0.3),
    ),
    Preprocess(**IMAGENET),
]


def levels(spec: Preprocess, got: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """How many grey levels each value is off from the runtime's."""
    expected, _ = spec.apply(Image.fromarray(pixels))
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == np.float32
    return np.abs(got.astype(np.float64) - expected) * np.reshape(spec.std, (3, 1, 1)) / spec.scale


@pytest.fixture(scope="module")
def graphs() -> list:
    return [session(preprocessing.preparation(spec).SerializeToString()) for spec in SPECS]


@settings(max_examples=60, deadline=None)
@given(
    which=st.integers(0, len(SPECS) - 1),
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    seed=st.integers(0, 2**31),
)
def test_any_photograph(graphs: list, which: int, size: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    (got,) = graphs[which].run(None, {"images": pixels[None]})
    off = levels(SPECS[which], got[0], pixels)
    assert off.max() <= 2.001
    assert (off > 1.001).mean() <= 1e-3
    assert (off > 0.5).mean() <= 0.2


def test_a_value_between_levels_twice(graphs: list) -> None:
    """Four rows of 32 pixels among which one value is halfway between two levels after either
    resize."""
    pixels = np.random.default_rng(131072).integers(0, 256, (4, 32, 3), dtype=np.uint8)
    (got,) = graphs[0].run(None, {"images": pixels[None]})
    off = levels(SPECS[0], got[0], pixels)
    assert 1.999 < off.max() < 2.001
    assert (off > 1.001).sum() == 1


@pytest.mark.parametrize("which", range(len(SPECS)))
def test_nearly_every_value_is_pillows(graphs: list, which: int) -> None:
    """Grey levels that differ are ties, which are many where sides have a simple ratio."""
    pixels = np.random.default_rng(0).integers(0, 256, (211, 173, 3), dtype=np.uint8)
    (got,) = graphs[which].run(None, {"images": np.stack([pixels, pixels[::-1]])})
    assert (levels(SPECS[which], got[0], pixels) < 1e-3).mean() > 0.998
    assert (levels(SPECS[which], got[1], pixels[::-1]) < 1e-3).mean() > 0.998


@pytest.mark.parametrize("which", range(len(SPECS)))
def test_it_is_onnx_that_says_so(which: int) -> None:
    """By onnx's own reference, which is no port of Pillow's code."""
    pixels = np.random.default_rng(0).integers(0, 256, (29, 23, 3), dtype=np.uint8)
    (got,) = ReferenceEvaluator(preprocessing.preparation(SPECS[which])).run(
        None, {"images": pixels[None]}
    )
    off = levels(SPECS[which], got[0], pixels)
    assert off.max() <= 1.001
    assert (off < 1e-3).mean() > 0.98


def test_what_is_measured_is_refused_where_it_is_wrong() -> None:
    spec = SPECS[0]
    assert preprocessing.measure(preprocessing.preparation(spec), spec).worst <= 1
    for wrong in (
        replace(spec, interpolation="bicubic"),
        replace(spec, fit="crop"),
        replace(spec, scale=1 / 250),
    ):
        with pytest.raises(ExportError, match="grey levels off on"):
            preprocessing.measure(preprocessing.preparation(wrong), spec)


class Told(Bound):
    """A bound method that was told how the network wants its images."""

    def __init__(self, spec: Preprocess | None) -> None:
        super().__init__(CamProgram(small(), "2", classes=10))
        self.spec = spec

    def metadata(self, images: torch.Tensor) -> dict[str, str]:
        found = {"camport.version": "0", **super().metadata(images)}
        return (
            found
            if self.spec is None
            else {**found, "camport.preprocess": json.dumps(asdict(self.spec))}
        )


@pytest.mark.parametrize("which", [1, *rare(3)])
def test_a_file_takes_photographs(tmp_path: Path, which: int) -> None:
    spec = SPECS[which]
    report = to_onnx(Told(spec), tmp_path / "raw.onnx", IMAGES, preprocess=True, opset=18)
    to_onnx(Told(spec), tmp_path / "plain.onnx", IMAGES, opset=18)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain.onnx", "raw.onnx"]
    raw, plain = runtime.load(tmp_path / "raw.onnx"), runtime.load(tmp_path / "plain.onnx")
    assert [str(port) for port in raw.inputs] == [
        "images uint8 [b,height,width,3]",
        "target int64 [b]",
    ]
    assert raw.preprocess == replace(spec, in_graph=True)
    assert plain.preprocess == spec
    assert report.preparation is not None
    assert report.preparation.worst <= 1
    assert "preprocessing inside" in str(report)
    assert report.operators["Resize"] == plain_resizes(tmp_path / "plain.onnx") + 2

    for size in ((70, 51), (20, 90)):
        photo = Image.fromarray(
            np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        )
        pixels, placement = raw.preprocess.apply(photo)
        prepared, same = plain.preprocess.apply(photo)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (*size, 3)
        assert placement == same
        result, expected = (
            raw(np.stack([pixels] * 2), target=[3, -1]),
            plain(np.stack([prepared] * 2), target=[3, -1]),
        )
        assert result.heatmap.shape == (2, 33, 40)
        assert placement.to_image(result.heatmap[0]).shape == size
        for name in expected:
            np.testing.assert_allclose(
                result[name], expected[name], atol=0.02 * np.abs(expected[name]).max()
            )


def plain_resizes(path: Path) -> int:
    return sum(node.op_type == "Resize" for node in onnx.load(path).graph.node)


@pytest.mark.everything
def test_photographs_of_their_own_size(tmp_path: Path) -> None:
    to_onnx(
        Told(SPECS[5]),
        tmp_path / "a.onnx",
        IMAGES,
        preprocess=True,
        dynamic="batch+size",
        outputs=("heatmap",),
    )
    explainer = runtime.load(tmp_path / "a.onnx")
    assert str(explainer.inputs[0]) == "images uint8 [b,H,W,3]"
    assert explainer(np.zeros((1, 47, 52, 3), np.uint8) + 9).heatmap.shape == (1, 47, 52)


def test_without_a_word_the_size_is_the_images(tmp_path: Path) -> None:
    to_onnx(Told(None), tmp_path / "a.onnx", IMAGES, preprocess=True, outputs=("heatmap",))
    assert runtime.load(tmp_path / "a.onnx").preprocess == Preprocess(size=(33, 40), in_graph=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Preprocess(), r'keeps each image\'s own size.*dynamic="batch\+size"'),
        (Preprocess(size=(40, 40)), r"makes images of 40x40, and those given are 33x40"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_tracing(
    tmp_path: Path, spec: Preprocess, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        to_onnx(Told(spec), tmp_path / "a.onnx", IMAGES, preprocess=True)
    assert not list(tmp_path.iterdir())


def test_a_wrong_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's part is proven and so is the preprocessing;
    put together wrongly they are not."""
    honest = preprocessing.splice

    def wrong(model: ir.Model, front: onnx.ModelProto, spec: Preprocess) -> None:
        honest(model, preprocessing.preparation(replace(spec, mean=(0.9, 0.9, 0.9))), spec)

    monkeypatch.setattr("camport.export.onnx_file.preprocessing.splice", wrong)
    with pytest.raises(ExportError, match="off from its two parts"):
        to_onnx(Told(SPECS[0]), tmp_path / "a.onnx", IMAGES, preprocess=True)
    assert not list(tmp_path.iterdir())
