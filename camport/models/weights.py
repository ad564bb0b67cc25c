"""Weights from local files: safetensors, or a state dict that is loaded with
`weights_only=True`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camport.errors import MissingDependencyError, ModelError, guarded

NESTED = ("state_dict", "model_state_dict", "model", "net", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors or .pt/.pth file by name;
    ModelError where it holds none or is corrupt."""
    if not path.is_file():
        what = (
            "are a directory"
            if path.is_dir()
            else "are no regular file"
            if path.exists()
            else "do not exist"
        )
        raise ModelError(f"weights {path} {what}; name a file")
    try:
        if path.suffix == ".safetensors":
            try:
                from safetensors.torch import load_file
            except ImportError as error:
                raise MissingDependencyError(
                    'reading .safetensors needs: pip install "camport[torch]"'
                ) from error
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MissingDependencyError:
        raise
    except Exception as error:  # torn files raise whatever their bytes lead to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "weights_only" in str(error) or "Unsupported" in str(error):
            reason = "it holds Python objects, not just tensors; save model.state_dict() instead"
        raise ModelError(f"weights {path} cannot be read: {reason[:160]}") from None
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(v, Tensor) for v in found.values())
    ):
        raise ModelError(
            f"weights {path} hold {type(found).__name__}, not a state dict; save model.state_dict()"
        )
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise ModelError(
                f"weights {path} have the key {name!r}, which is no name; save model.state_dict()"
            )
        if (
            tensor.layout != torch.strided
            or tensor.is_nested
            or tensor.is_quantized
            or tensor.device.type == "meta"
        ):
            kind = (
                "on the meta device"
                if tensor.device.type == "meta"
                else "sparse, nested or quantized"
            )
            raise ModelError(f"weights {path}: {name!r} is {kind}; save dense tensors with values")
    return dict(found)


def classes_in(state: Mapping[str, Tensor], model: nn.Module) -> int | None:
    """The number of classes of a checkpoint whose head differs from the model's in that number
    alone."""
    own = model.state_dict()
    sizes = set()
    for name, tensor in _fitted(state, own).items():
        if name in own and own[name].shape != tensor.shape:
            if tensor.dim() == 0 or own[name].shape[1:] != tensor.shape[1:]:
                return None
            sizes.add(tensor.shape[0])
    return sizes.pop() if len(sizes) == 1 else None


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Loads a state dict strictly; ModelError names what is missing,
    left over or of another shape."""
    own = model.state_dict()
    state = _fitted(state, own)
    problems: list[str] = []
    for what, names in (
        ("missing", own.keys() - state.keys()),
        ("not in the model", state.keys() - own.keys()),
    ):
        if names:
            problems.append(f"{what}: {_some(sorted(names))}")
    shapes = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if shapes:
        k = sorted(shapes)[0]
        problems.append(f"{k} is {tuple(state[k].shape)}, the model's is {tuple(own[k].shape)}")
    complex_ = [
        k for k in own.keys() & state.keys() if state[k].is_complex() and not own[k].is_complex()
    ]
    if complex_:
        problems.append(
            f"{sorted(complex_)[0]} is {state[sorted(complex_)[0]].dtype}, the model's is real"
        )
    if problems:
        raise ModelError(f"weights {path} do not fit {type(model).__name__}: {'; '.join(problems)}")
    with guarded(f"weights {path} cannot be loaded", ModelError, remedy="save model.state_dict()"):
        model.load_state_dict(dict(state))


def _fitted(state: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names without the prefix that DataParallel,
    torch.compile or a wrapper put before all of them."""
    for prefix in PREFIXES:
        if all(k.startswith(prefix) for k in state) and not any(k.startswith(prefix) for k in own):
            return {k.removeprefix(prefix): v for k, v in state.items()}
    return dict(state)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
