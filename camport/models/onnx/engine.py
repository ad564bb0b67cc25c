"""Nodes that are not imported: ONNX Runtime runs them, one at a time,
and there is no gradient behind them."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camport.errors import MethodError, ModelError
from camport.models.onnx.file import EngineNode
from camport.models.onnx.registry import Operator
from camport.models.onnx.small import Small

GRADIENT_FREE = (
    "eigencam, reciprocam, ablationcam, scorecam, GroupCAM(gradient_weights=False), rise and"
    " occlusion"
)


def can_run(path: Path) -> bool:
    """Whether ONNX Runtime takes the whole file."""
    return _session(str(path)) is not None


def engine_operator(node: EngineNode, label: str) -> Operator:
    """The node as an operator of its inputs; its attributes stay in it."""
    return Operator(node.full_name, 1, _Run(node, label), frozenset(), frozenset())


class _Run:
    """The function of an operator: `run(*inputs, outputs=n)`."""

    not_exportable_because = (
        "camport does not import its operator, so that it cannot be written into another file"
    )

    def __init__(self, node: EngineNode, label: str) -> None:
        self.node, self.label = node, label
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[EngineNode, str]:
        return self.node, self.label

    def __setstate__(self, state: tuple[EngineNode, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, *inputs: Any, outputs: int = 1) -> Any:
        tensors = [v.tensor() if isinstance(v, Small) else v for v in inputs]
        results = _Apart.apply(self, *tensors)
        return results if outputs > 1 else results[0]

    def compute(self, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The outputs, on the device of the first input."""
        present = {
            name: t for name, t in zip(self.node.inputs, tensors, strict=False) if t is not None
        }
        found = [t for t in present.values() if t.device.type == "meta"]
        if found:
            raise NotImplementedError(f"{self.label} cannot run on the meta device")
        device = next((t.device for t in present.values()), torch.device("cpu"))
        arrays = {name: t.detach().cpu().contiguous().numpy() for name, t in present.items()}
        results = iter(
            self._engine({name: str(array.dtype) for name, array in arrays.items()}).run(
                None, arrays
            )
        )
        return tuple(
            torch.from_numpy(next(results)).to(device) if name else None
            for name in self.node.outputs
        )

    def _engine(self, types: Mapping[str, str]) -> Any:
        key = tuple(types.items())
        with self._lock:
            if key not in self._sessions:
                made = _session(self.node.model(types))
                if made is None:
                    raise ModelError(
                        f"{self.label} is not imported, and ONNX Runtime does not take it for"
                        f" {types}"
                    )
                self._sessions[key] = made
        return self._sessions[key]


class _Apart(torch.autograd.Function):
    """What autograd sees of such a node: values, and an error where their gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.label = run.label
        return run.compute(tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        raise MethodError(
            f"{ctx.label} is not imported, so there is no gradient through it. Methods without"
            f" gradients work: {GRADIENT_FREE}; so does a target layer behind it"
        )


def _session(model: str | bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime raises a class for each of its status codes
        return None
