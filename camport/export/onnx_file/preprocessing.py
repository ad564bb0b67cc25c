"""Preprocessing inside the graph: `images` are uint8 photographs [b,height,width,c] of any size.

The twin of `camport.runtime.preprocess`, step by step: Pillow's antialiased resize works on one
axis after the other and rounds to whole grey levels after each, so here are two Resize nodes, each
followed by a rounding. What is left is the arithmetic inside Resize: where a sum falls between two
levels, the one or the other may come out; twice, and so two levels away, about once in a million
values. tests/export/test_prepare.py compares the two.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper

from camport.errors import ExportError
from camport.export.onnx_file.ort import session
from camport.export.onnx_file.step import Draft, Step, ensures, requires
from camport.export.onnx_file.transplant import transplant
from camport.export.report import PreparationParity
from camport.runtime.preprocess import Preprocess

PREPARED = "prepared"
"""The name of what the network takes, inside the graph."""

WORST = 2.0
"""How many of 255 grey levels a value may differ from Pillow's: one for each of the two
roundings."""
RARE = 1e-4
"""The share of values that may differ by more than one level."""

HEAD = """<ir_version: 8, opset_import: ["" : 18]>
prepare (uint8[b, {height}, {width}, {c}] images)
    => (float[b, {c}, {frame_height}, {frame_width}] prepared) {{
  planes_of_bytes = Transpose <perm = [0, 3, 1, 2]> (images)
  planes = Cast <to = 1> (planes_of_bytes)
"""

STRETCH = """
  resized = Identity (size)
"""

CROP = """
  whole = Shape <start = 1, end = 3> (images)
  side = ReduceMin <keepdims = 1> (whole)
  lengthened = Mul (whole, short)
  resized = Div (lengthened, side)
"""

LETTERBOX = """
  whole = Shape <start = 1, end = 3> (images)
  exact = Cast <to = 11> (whole)
  ratios = Div (frame, exact)
  ratio = ReduceMin <keepdims = 1> (ratios)
  scaled = Mul (exact, ratio)
  rounded = Round (scaled)
  counted = Cast <to = 7> (rounded)
  resized = Max (counted, one)
"""

RESIZE = """
  new_height, new_width = Split <num_outputs = 2> (resized)
  lead = Shape <start = 0, end = 3> (planes)
  wide_size = Concat <axis = 0> (lead, new_width)
  wide_exact = Resize <{options}> (planes, , , wide_size)
  wide_up = Add (wide_exact, half)
  wide_level = Floor (wide_up)
  wide = Clip (wide_level, black, white)
  channels = Shape <start = 0, end = 2> (planes)
  high_size = Concat <axis = 0> (channels, resized)
  high_exact = Resize <{options}> (wide, , , high_size)
  high_up = Add (high_exact, half)
  high_level = Floor (high_up)
  high = Clip (high_level, black, white)
"""

CUT = """
  spare = Sub (size, resized)
  spare_exact = Cast <to = 11> (spare)
  centred = Mul (spare_exact, half_exact)
  centred_whole = Round (centred)
  origin = Cast <to = 7> (centred_whole)
  start = Neg (origin)
  stop = Add (start, size)
  framed = Slice (high, start, stop, axes)
"""

PAD = """
  spare = Sub (size, resized)
  origin = Div (spare, two)
  after = Sub (spare, origin)
  pads = Concat <axis = 0> (nowhere, origin, nowhere, after)
  framed = Pad (high, pads, grey)
"""

NORMALISE = """
  scaled_levels = Mul ({levels}, scale)
  centred_levels = Sub (scaled_levels, mean)
  prepared = Div (centred_levels, std)
}}
"""

MIDDLE = {"stretch": "", "crop": CUT, "letterbox": PAD}
SIZES = {"stretch": STRETCH, "crop": CROP, "letterbox": LETTERBOX}
OPTIONS = {
    "bilinear": 'mode = "linear"',
    "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5',
}


def preparation(spec: Preprocess) -> onnx.ModelProto:
    """The graph from `images` uint8 [b,height,width,c] to `prepared` float32 [b,3,H,W],
    as `spec` says.

    Its operators are those of opset 18, and mean the same in the later ones.
    """
    sized = spec.size is not None
    height, width = spec.size or ("H", "W")
    axes = ("height", "width") if sized else ("H", "W")
    text = HEAD.format(
        c=spec.channels, height=axes[0], width=axes[1], frame_height=height, frame_width=width
    )
    levels = "planes"
    if sized:
        options = f"{OPTIONS[spec.interpolation]}, antialias = 1, exclude_outside = 1"
        text += SIZES[spec.fit] + RESIZE.format(options=options) + MIDDLE[spec.fit]
        text += "  levels = Reshape ({}, shape)\n".format(
            "high" if spec.fit == "stretch" else "framed"
        )
        levels = "levels"
    model = onnx.parser.parse_model(text + NORMALISE.format(levels=levels))
    used = {name for node in model.graph.node for name in node.input}
    for name, value in _constants(spec).items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def _constants(spec: Preprocess) -> dict[str, np.ndarray]:
    height, width = spec.size or (1, 1)
    return {
        "size": np.array([height, width], np.int64),
        "short": np.array(spec.resize or max(height, width), np.int64),
        "frame": np.array([height, width], np.float64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "half": np.array(0.5, np.float32),
        "half_exact": np.array(0.5, np.float64),
        "black": np.array(0, np.float32),
        "white": np.array(255, np.float32),
        "axes": np.array([2, 3], np.int64),
        "nowhere": np.array([0, 0], np.int64),
        "grey": np.array(spec.pad, np.float32),
        "shape": np.array([0, spec.channels, height, width], np.int64),
        "scale": np.array(spec.scale, np.float32),
        "mean": np.array(spec.mean, np.float32).reshape(1, -1, 1, 1),
        "std": np.array(spec.std, np.float32).reshape(1, -1, 1, 1),
    }


def measure(front: onnx.ModelProto, spec: Preprocess) -> PreparationParity:
    """Compares the graph with `spec.apply` on pictures of noise, larger, smaller,
    wider and higher than the network's.

    Raises:
        ExportError: a value is more than two grey levels off, or more than one in ten thousand by
            more than one.
    """
    run = session(front.SerializeToString())
    height, width = spec.size or (96, 128)
    sizes = (
        (2 * height + 37, 3 * width + 11),
        (3 * height, height // 2 + 9),
        (height // 2 + 5, width // 2 + 3),
        (height, width),
    )
    generator = np.random.default_rng(0)
    worst, different, values = 0.0, 0, 0
    for size in sizes:
        pixels = generator.integers(0, 256, (*size, spec.channels), dtype=np.uint8)
        expected, _ = replace(spec, in_graph=False).apply(pixels.transpose(2, 0, 1))
        (got,) = run.run(None, {"images": pixels[None]})
        std = np.asarray(spec.std, np.float64).reshape(-1, 1, 1)
        off = (
            np.abs(got[0].astype(np.float64) - expected) * std / spec.scale
            if got[0].shape == expected.shape
            else None
        )
        worst = max(worst, float("inf") if off is None else float(off.max()))
        if off is None or worst > WORST + 1e-3 or float((off > 1 + 1e-3).mean()) > RARE:
            raise ExportError(
                f"the preprocessing in the graph is {worst:.1f} of 255 grey levels off on"
                f" {size[0]}x{size[1]} pixels"
            )
        different, values = different + int((off > 0.5).sum()), values + off.size
    return PreparationParity(worst=round(worst, 3), share=different / values, sizes=sizes)


def splice(model: ir.Model, front: onnx.ModelProto, spec: Preprocess) -> None:
    """Puts the preprocessing before the network, in place: `images` become bytes,
    and the metadata say so."""
    old = model.graph.inputs[0]
    old.name = f"{old.name}.network"
    (raw,), (prepared,) = transplant(model, front, "prepare")
    raw.shape, prepared.shape = ir.Shape([old.shape[0], *raw.shape[1:]]), old.shape
    ir.convenience.replace_all_uses_with(old, prepared)
    model.graph.inputs[0] = raw
    model.graph.sort()
    model.metadata_props["camport.preprocess"] = replace(spec, in_graph=True).to_json()


def wanted(metadata: Mapping[str, str], shape: Sequence[int], dynamic: str) -> Preprocess:
    """The preprocessing that the file's metadata tell,
    where it can be written for images [b,c,H,W] of that shape.

    Raises:
        ExportError: the network was traced with another size, or the size is free on one side only.
    """
    size = (shape[-2], shape[-1])
    spec = Preprocess.from_json(metadata.get("camport.preprocess") or json.dumps({"size": size}))
    spec = spec.with_channels(shape[1])
    if spec.side is not None:
        raise ExportError(
            "images of one fixed side are not made in the graph; give the preprocessing a size"
        )
    if spec.stride is not None:
        raise ExportError(
            "a letterbox padded to a stride has many sizes and is not made in the graph; set stride"
            " None"
        )
    if spec.size is None and dynamic != "batch+size":
        raise ExportError(
            "the preprocessing keeps each image's own size, and the network would take one alone:"
            ' export with dynamic="batch+size", or give the preprocessing a size'
        )
    if spec.size is not None and dynamic != "batch+size" and spec.size != size:
        raise ExportError(
            f"the preprocessing makes images of {spec.size[0]}x{spec.size[1]}, and those given are "
            f"{size[0]}x{size[1]}: give images as the preprocessing makes them"
        )
    return spec


class Preprocessing(Step):
    """Puts the preprocessing before the network: `images` become bytes, and the metadata say so.

    Args:
        spec: what it does.
    """

    name = "preprocessing"

    def __init__(self, spec: Preprocess) -> None:
        self.spec, self.front = spec, preparation(spec)

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """Where it is asked for."""
        return None if draft.options.preprocess is None else cls(draft.options.preprocess)

    def requires(self, model: ir.Model) -> None:
        """A file that takes prepared images."""
        requires(model.graph.inputs[0].dtype == ir.DataType.FLOAT, "images of float32")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the graph."""
        splice(model, self.front, self.spec)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """A file that takes photographs."""
        ensures(model.graph.inputs[0].dtype == ir.DataType.UINT8, "images of uint8")

    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """The preprocessing gives what Pillow gives, and the whole file what its two parts give."""
        measured = measure(self.front, self.spec)
        run = session(draft.before)
        taken = {value.name: value.shape for value in run.get_inputs()}
        images = 1 if taken["images"][0] == 1 else 2
        pixels = np.random.default_rng(1).integers(
            0, 256, (images, 150, 90, taken["images"][1]), dtype=np.uint8
        )
        (prepared,) = session(self.front.SerializeToString()).run(None, {"images": pixels})
        sample = draft.program.sample(torch.from_numpy(prepared), 2, 0)
        given = {name: value.numpy() for name, value in sample.items() if name in taken}
        parts = run.run(None, {**given, "images": prepared})
        whole = session(draft.path).run(None, {**given, "images": pixels})
        for expected, got in zip(parts, whole, strict=True):
            difference = np.abs(np.subtract(got, expected, dtype=np.float64)).max(initial=0)
            if not difference <= 1e-4 * max(1.0, np.abs(expected).max(initial=0)):
                raise ExportError(
                    f"the graph with preprocessing is {difference:.1e} off from its two parts"
                )
        return {"preparation": measured}
