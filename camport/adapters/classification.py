"""Classification and regression: one row of numbers an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.grid import Grid, find_grid
from camport.core.heatmap import Size
from camport.errors import InputError, ModelError

Score = Literal["logit", "probability", "log_probability", "rest", "binary", "contrast", "weighted_sum", "regression"]
SCORES = ("logit", "probability", "log_probability", "rest", "binary", "contrast", "weighted_sum", "regression")


@dataclass(frozen=True)
class ClassificationAdapter(Adapter):
    """Explains one class of a model that returns logits z [b,k] (a tensor, or the first in a tuple, dict, ModelOutput).

    `target` is None (top-1 of each image), an int, or int64 [b]; -1 means top-1.

    Args:
        score_as: what y^c is:
            "logit": z_c. "probability": softmax(z)_c. "log_probability": log softmax(z)_c.
            "rest": z_c + log softmax(z)_c (ReST, 2501.06261).
            "binary": one logit z [b] or [b,1]; +z for target 1, -z for target 0.
            "contrast": z_c minus `strength` times the mean logit of other classes (Finer-CAM, 2501.11309).
            "weighted_sum": sum_k w_k z_k; the target is the weights, float [k] or [b,k], the graph input `weights`.
            "regression": sign * z_c, for outputs [b], [b,1] or [b,k].
        against: classes to contrast with; None is the runner-up of each image, or the `nearest`.
        nearest: contrast with so many classes whose logits are nearest to the target's; at most all others.
        strength: of the contrast.
        sign: +1 explains what raises a regression's value, -1 what lowers it.
        patch_grid: (h, w) of the tokens of a transformer whose grid cannot be read from the model.
    """

    name: ClassVar[str] = "classification"
    title: ClassVar[str] = "One class of a classifier, or one output of a regression"

    score_as: Score = "logit"
    against: int | tuple[int, ...] | None = None
    nearest: int | None = None
    strength: float = 1.0
    sign: int = 1
    patch_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.score_as not in SCORES:
            raise InputError(f"score_as is {self.score_as!r}; it is one of {', '.join(SCORES)}")
        if self.sign not in (-1, 1):
            raise InputError(f"sign is {self.sign}; it is +1 or -1")
        if self.nearest is not None and (self.nearest < 1 or self.against is not None):
            raise InputError(f"nearest is {self.nearest} and against {self.against}; give one of them, 1 class or more")

    @property
    def inputs(self) -> tuple[str, ...]:
        """`target`, or `weights` for a weighted sum."""
        return ("weights",) if self.score_as == "weighted_sum" else ("target",)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """The target as int64 [b], or weights as [b,k]."""
        b, device = images.shape[0], images.device
        if self.score_as == "weighted_sum":
            if target is None:
                raise InputError("a weighted sum needs its weights as the target: float [k] or [b,k]")
            try:
                weights = torch.as_tensor(target, dtype=images.dtype, device=device)
            except (TypeError, ValueError, RuntimeError) as error:
                raise InputError(f"weights {target!r} are no numbers; give float [k] or [b,k]") from error
            weights = weights.expand(b, -1) if weights.dim() == 1 else weights
            if weights.dim() != 2 or weights.shape[0] != b:
                raise InputError(f"weights have shape {tuple(weights.shape)}; wanted [k] or [b,k] with b = {b}")
            return {"weights": weights.clone()}
        if target is None:
            target = 0 if self.score_as == "regression" else -1
        try:
            classes = torch.as_tensor(target, device=device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"target {target!r} is not a class; give an int, int64 [b] or None") from error
        if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
            raise InputError(f"target has dtype {str(classes.dtype).removeprefix('torch.')}; classes are int64")
        if classes.dim() > 1 or (classes.dim() == 1 and classes.shape[0] != b):
            raise InputError(f"target has shape {tuple(classes.shape)}; wanted one class, or [b] with b = {b}")
        classes = classes.to(torch.int64)  # uint8 has no number below zero to compare with
        if bool((classes < -1).any()):
            raise InputError(f"target {int(classes.min())} is out of range; classes are 0 and up, -1 is the top class")
        return {"target": classes.expand(b).clone()}

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a class the model does not have, ModelError for outputs that are not [b,k]."""
        k = self._logits(outputs).shape[1]
        if self.score_as == "weighted_sum":
            if target["weights"].shape[1] != k:
                raise InputError(f"{target['weights'].shape[1]} weights for {k} outputs; give one weight an output")
            return
        classes = target["target"]
        if self.score_as == "binary":
            if k != 1:
                raise ModelError(f"a binary score needs one logit an image, the model gives {k}; use score_as='logit'")
            k = 2
        if self.score_as == "contrast" and k < 2:
            raise ModelError(f"a contrast needs a second class, the model gives {k} output; use score_as='binary'")
        for value in (int(classes.max()), *self._against()):
            if not -1 <= value < k:
                raise InputError(f"class {value} is out of range: the model has {k} classes (0..{k - 1})")

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes the top class."""
        if self.score_as == "weighted_sum":
            return dict(target)
        z = self._logits(outputs)
        top = (z[:, 0] > 0).to(torch.int64) if self.score_as == "binary" else z.argmax(1)
        classes = torch.where(target["target"] < 0, top, target["target"])
        resolved = {"target": classes}
        if self.score_as == "contrast" and self.against is None:
            resolved["against"] = _similar(z, classes, self.nearest)
        return resolved

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """y^c; one-hot products instead of indexing, whose gradient exports as a plain product."""
        z = self._logits(outputs)
        if self.score_as == "weighted_sum":
            return (z * target["weights"].to(z.dtype)).sum(1)
        classes = target["target"]
        if self.score_as == "binary":
            return z[:, 0] * (2 * classes - 1).to(z.dtype)
        chosen = _one_hot(classes, z)
        if self.score_as == "probability":
            z = z.softmax(1)
        elif self.score_as == "log_probability":
            z = z.log_softmax(1)
        elif self.score_as == "rest":
            z = z + z.log_softmax(1)
        elif self.score_as == "regression":
            chosen = chosen * self.sign
        elif self.score_as == "contrast":
            if self.against is None:
                others = list(target["against"].unbind(1))
            else:
                others = [torch.full_like(classes, c) for c in self._against()]
            chosen = chosen - self.strength / len(others) * sum(_one_hot(c, z) for c in others)
        return (z * chosen).sum(1)

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """softmax(z)_c, the logistic function of a binary logit; other scores as they are."""
        if self.score_as == "binary":
            return self.score(outputs, target).sigmoid()
        if self.score_as not in ("logit", "log_probability", "rest"):
            return self.score(outputs, target)
        z = self._logits(outputs)
        return (z.softmax(1) * _one_hot(target["target"], z)).sum(1)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The classes, or the weights."""
        return target["weights" if self.score_as == "weighted_sum" else "target"]

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random classes, every second the top one; or random weights."""
        z = self._logits(outputs)
        if self.score_as == "weighted_sum":
            return {"weights": torch.randn(batch, z.shape[1], generator=generator).to(z.dtype)}
        k = 2 if self.score_as == "binary" else z.shape[1]
        classes = torch.randint(k, (batch,), generator=generator)
        classes[1::2] = -1
        return {"target": classes}

    def grid(self, activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str) -> Grid:
        """As read from the model, or tokens on the grid that was given."""
        if self.patch_grid is not None and activation.dim() == 3:
            h, w = self.patch_grid
            prefix = activation.shape[1] - h * w
            if prefix < 0:
                raise InputError(
                    f"patch_grid {h}x{w} needs {h * w} tokens, layer {name!r} puts out {activation.shape[1]}"
                )
            return Grid("tokens", prefix, (h, w))
        return find_grid(activation, image_size, model, module, name)

    def _against(self) -> Sequence[int]:
        if self.score_as != "contrast" or self.against is None:
            return ()
        return (self.against,) if isinstance(self.against, int) else tuple(self.against)

    def _logits(self, outputs: Any) -> Float[Tensor, "b k"]:
        found = getattr(outputs, "logits", None)
        if found is None and isinstance(outputs, Mapping):
            found = outputs.get("logits")
        if found is None:
            leaves = torch.utils._pytree.tree_leaves(outputs)
            found = next((v for v in leaves if isinstance(v, Tensor) and v.is_floating_point()), None)
        if found is None:
            raise ModelError(f"the model returned {type(outputs).__name__} without a floating-point tensor to explain")
        z = found.flatten(1) if found.dim() == 4 and found.shape[2:] == (1, 1) else found
        if z.dim() == 1 and self.score_as in ("binary", "regression"):
            z = z[:, None]
        if z.dim() != 2:
            raise ModelError(
                f"the model returned {tuple(found.shape)}; the classification adapter reads [b,k]. "
                "For other tasks see `camport adapters`"
            )
        return z


def _one_hot(classes: Tensor, like: Tensor) -> Tensor:
    return (torch.arange(like.shape[1], device=like.device)[None] == classes[:, None]).to(like.dtype)


def _similar(z: Float[Tensor, "b k"], classes: Tensor, nearest: int | None) -> Tensor:
    """The runner-up [b,1] of each image, or the classes [b,m] whose logits are nearest to that of `classes`."""
    own = _one_hot(classes, z)
    likeness = z if nearest is None else -(z - (z * own).sum(1, keepdim=True)).abs()
    found: list[Tensor] = []
    for _ in range(min(nearest or 1, z.shape[1] - 1)):
        taken = sum((_one_hot(c, z) for c in found), own)
        found.append(torch.where(taken > 0, torch.full_like(z, -torch.inf), likeness).argmax(1))
    return torch.stack(found, 1)
