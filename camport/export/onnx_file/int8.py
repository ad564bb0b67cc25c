"""int8: the forward pass of a proven float32 file in 8 bits, calibrated on the user's images.

Static quantisation by ONNX Runtime, with QuantizeLinear and DequantizeLinear of the standard
domain. Quantised is what `outputs` depends on; the gradient and the map stay in float32 arithmetic,
on the activations and weights that the 8 bits left. Activations are uint8, weights int8 for each
channel.

Parity with PyTorch cannot be asked of 8 bits. The float32 file has passed it; this one must agree
with that file, on images that did not calibrate it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from torch import Tensor

from camport.errors import ExportError, InputError
from camport.export.atomic_file import data_file
from camport.export.onnx_file.ort import session
from camport.export.onnx_file.step import Draft, Step, ensures
from camport.export.proof.int8_agreement import agreement
from camport.export.quiet import quiet
from camport.export.traceable import Traceable

CHUNK = 8
"""Images a run, in calibration and comparison."""

HELD_BACK = 4
"""One image in so many compares the files, the others calibrate."""


def check_calibration(calibration: Tensor | None, images: Tensor, precision: str) -> None:
    """Refuses calibration images that do not fit, and int8 without any.

    Raises:
        InputError: what is wrong with them.
    """
    if precision != "int8":
        if calibration is not None:
            raise InputError(f'calibration is for precision="int8", and precision is {precision!r}')
        return
    if calibration is None:
        raise InputError(
            'precision="int8" needs calibration=images [n,3,H,W], some dozens as the model will see'
            " them"
        )
    shape = list(calibration.shape)
    if (
        calibration.dim() != 4
        or shape[1:] != list(images.shape[1:])
        or not calibration.is_floating_point()
    ):
        raise InputError(
            f"calibration is {calibration.dtype} {shape}; it must be floating point and fit images"
            f" {list(images.shape)}"
        )
    if shape[0] < 2:
        raise InputError(
            f"calibration has {shape[0]} images; at least 2 are needed: one calibrates, one"
            " compares"
        )
    if not calibration.isfinite().all():
        raise InputError(
            "calibration has values that are not finite; look at how the images were normalised"
        )


class Int8(Step):
    """Quantises the forward pass.

    Args:
        draft: the float32 file, and the images that calibrate it. Every fourth is kept back for the
            comparison.
    """

    name = "int8"

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        calibration = draft.options.calibration
        assert calibration is not None
        self.images = calibration.detach().cpu().float()
        self.held = np.arange(len(self.images)) % HELD_BACK == min(HELD_BACK, len(self.images)) - 1

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """Where there are images that calibrate it."""
        return None if draft.options.calibration is None else cls(draft)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Takes the quantised graph, with the domains of the model's own.

        Raises:
            ExportError: the graph has no `outputs`, or ONNX Runtime cannot quantise it.
        """
        scratch = self.draft.path.parent / "quantize"
        scratch.mkdir()
        _quantize(
            self.draft.before,
            scratch / "int8.onnx",
            _feeds(self.draft.program, self.images[~self.held]),
        )
        made = ir.load(scratch / "int8.onnx")
        ir.external_data.load_to_model(made)
        for domain in [d for d in made.graph.opset_imports if d not in model.graph.opset_imports]:
            del made.graph.opset_imports[domain]
        model.graph, model.ir_version = made.graph, made.ir_version
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Something is quantised."""
        ensures(
            any(node.op_type == "QuantizeLinear" for node in model.graph), "quantised activations"
        )

    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """How well the file agrees with the float32 file, on images that did not calibrate it.

        Raises:
            ParityError: it does not explain what the float32 file explains.
        """
        feeds = _feeds(draft.program, self.images[self.held])
        return {"agreement": agreement(session(draft.before), session(draft.path), feeds)}


def forward_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that the model's own outputs depend on: `outputs`, `outputs_1`, ..."""
    producers = {name: node for node in model.graph.node for name in node.output}
    waiting = [
        v.name for v in model.graph.output if v.name == "outputs" or v.name.startswith("outputs_")
    ]
    if not waiting:
        raise ExportError(
            'int8 quantises what leads to "outputs", and the file shall not have it: leave it among'
            " the outputs"
        )
    found: dict[str, None] = {}
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = None
            waiting += [name for name in node.input if name]
    return list(found)


class _Reader:
    """Feeds, as ONNX Runtime's calibration asks for them."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next feed, or None."""
        return next(self._feeds, None)


def _quantize(path: Path, result: Path, feeds: Iterator[dict[str, np.ndarray]]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    nodes = forward_nodes(onnx.load(str(path), load_external_data=False))
    with quiet("root"):  # on which it says what it would like
        try:
            quantize_static(
                str(path),
                str(result),
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=nodes,
                use_external_data_format=data_file(path).exists(),
            )
        except (OSError, MemoryError):
            raise
        except Exception as error:  # assertions, ValueErrors and the engine's own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ExportError(f"ONNX Runtime cannot quantise the graph: {reason}") from error


def _feeds(program: Traceable, images: Tensor) -> Iterator[dict[str, np.ndarray]]:
    """The images in chunks, each with what else the graph takes."""
    for chunk in images.split(CHUNK):
        given = {**program.sample(chunk, len(chunk), 0), "images": chunk}
        yield {name: given[name].numpy() for name in program.inputs}
