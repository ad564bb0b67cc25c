"""The ONNX Runtime side: the bare network as a file, and one run of a file,
on a GPU with all values kept there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camport.errors import ModelError

Run = Callable[[], Any]


def bare_file(model: nn.Module, images: Tensor, file: Path) -> Path:
    """The weights by plain torch.onnx.export, with opset and dynamic batch as an explained file
    has; written once.

    Args:
        model: on the CPU.
        images: [b,c,H,W], an example.
        file: where to.
    """
    from camport.export.onnx_file.from_graph import OPSET

    if not file.exists():
        torch.onnx.export(
            model,
            (torch.cat([images[:1]] * 2),),
            file,
            input_names=["images"],
            output_names=["outputs"],
            dynamic_shapes=({0: torch.export.Dim("b")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    return file


def session_run(file: Path, feeds: Mapping[str, Any], device: str, threads: int) -> Run:
    """One run of the whole file, all its outputs; on a GPU with inputs and outputs that stay there.

    Args:
        file: an .onnx file.
        feeds: arrays by input name.
        device: "cpu" or "cuda".
        threads: within an operator.

    Raises:
        ModelError: ONNX Runtime has no working CUDA provider.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if device == "cpu":
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(None, feeds)
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    if "CUDAExecutionProvider" not in session.get_providers():
        raise ModelError("this ONNX Runtime has no working CUDA provider: install onnxruntime-gpu")
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_ortvalue_input(
            name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0)
        )
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda", 0)
    return lambda: session.run_with_iobinding(binding)
