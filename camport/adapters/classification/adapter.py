"""Classification and regression: one row of numbers an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.classification.outputs import (
    Reading,
    answered,
    choice,
    doubts,
    reading,
    shown,
)
from camport.adapters.classification.scores import logarithm, similar
from camport.adapters.classification.target import check_row_each, prepared
from camport.adapters.detection.candidates import inverse_sigmoid
from camport.adapters.lineage import Lineage
from camport.adapters.named_outputs import named
from camport.adapters.reading import one_hot
from camport.core.adapter import Adapter
from camport.core.maps.heatmap import Size
from camport.core.maps.ruled_out import weighed
from camport.core.maps.token_grid import Grid, find_grid
from camport.errors import InputError, ModelError

Score = Literal[
    "logit",
    "probability",
    "log_probability",
    "rest",
    "binary",
    "contrast",
    "weighted_sum",
    "regression",
]
SCORES = get_args(Score)

CHOOSE = "ClassificationAdapter(output={name!r}), on the command line --scores {name}"


@dataclass(frozen=True)
class ClassificationAdapter(Adapter):
    """Explains one class of a model that returns logits z [b,k], or probabilities made of them.

    `target` is None (top-1 of each image), an int, or int64 [b]; -1 means top-1.

    Where the model ends in a softmax or a logistic function, or in the logarithm of one, z is what
    stands before it and a probability is the model's own number. Where probabilities are all that
    can be found, a DoubtWarning says so and the score is made of them as they are.

    Of several outputs [b,k] (in a tuple, a dictionary, a ModelOutput) `logits` is explained; else
    the one that is called like classes, has as many columns as the model has classes, is a softmax,
    or has most linear layers behind it; and a DoubtWarning names the others.

    Args:
        score_as: what y^c is:
            "logit": z_c. "probability": softmax(z)_c. "log_probability": log softmax(z)_c.
            "rest": z_c + log softmax(z)_c (ReST, 2501.06261).
            "binary": one logit z [b] or [b,1]; +z for target 1, -z for target 0.
            "contrast": z_c minus `strength` times the mean logit of other classes (Finer-CAM,
            2501.11309).
            "weighted_sum": sum_k w_k z_k; the target is the weights, float [k] or [b,k], the graph
            input `weights`.
            "regression": sign * o_c of the outputs o [b], [b,1] or [b,k], whatever they end in.
        against: classes to contrast with; None is the runner-up of each image, or the `nearest`.
        nearest: contrast with so many classes whose logits are nearest to the target's; at most all
            others.
        strength: of the contrast.
        sign: +1 explains what raises a regression's value, -1 what lowers it.
        patch_grid: (h, w) of the tokens of a transformer whose grid cannot be read from the model.
        output: which of several outputs holds the classes: a key, a field, an .onnx file's name of
            it, or its number.
        reading: how outputs are read; told at the first call.
    """

    name: ClassVar[str] = "classification"
    title: ClassVar[str] = "One class of a classifier, or one output of a regression"

    settles_in_passing: ClassVar[bool] = True

    score_as: Score = "logit"
    against: int | tuple[int, ...] | None = None
    nearest: int | None = None
    strength: float = 1.0
    sign: int = 1
    patch_grid: tuple[int, int] | None = None
    output: str | int | None = None
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if self.score_as not in SCORES:
            raise InputError(f"score_as is {self.score_as!r}; it is one of {', '.join(SCORES)}")
        if self.sign not in (-1, 1):
            raise InputError(f"sign is {self.sign}; it is +1 or -1")
        if self.nearest is not None and (self.nearest < 1 or self.against is not None):
            raise InputError(
                f"nearest is {self.nearest} and against {self.against}; give one of them, 1 class"
                " or more"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """`target`, or `weights` for a weighted sum."""
        return ("weights",) if self.score_as == "weighted_sum" else ("target",)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """The target as int64 [b], or weights as [b,k]."""
        return prepared(self.score_as, target, images)

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs, with the logits behind its probabilities."""
        return answered(
            lambda: model(images), model, images.shape[0], self.reading, self.output, self._row
        )

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def settled(self, model: nn.Module, outputs: Any) -> Adapter:
        """This adapter with the reading of the model's outputs fixed."""
        return self if self.reading else dataclasses.replace(self, reading=self._reading(outputs))

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a class the model does not have,
        ModelError for outputs that are not [b,k]."""
        z, read = self._logits(outputs), self._reading(outputs)
        k = z.shape[1]
        check_row_each(z, target)
        if self.score_as == "rest" and read.link and not read.found:
            raise ModelError(
                "score_as='rest' needs logits, and the model's outputs are probabilities whose"
                " logits were not found; return the logits, or use score_as='log_probability'"
            )
        if self.score_as in ("probability", "log_probability", "rest", "binary") and read.made:
            raise ModelError(
                f"score_as={self.score_as!r} needs logits or probabilities, and the model's outputs"
                f" are another function of a {read.made}; return either, or use score_as='logit',"
                " which takes them as they are"
            )
        if self.score_as == "weighted_sum":
            if target["weights"].shape[1] != k:
                raise InputError(
                    f"{target['weights'].shape[1]} weights for {k} outputs; give one weight an"
                    " output"
                )
            return
        classes = target["target"]
        if self.score_as == "binary":
            if k != 1:
                raise ModelError(
                    f"a binary score needs one logit an image, the model gives {k}; use"
                    " score_as='logit'"
                )
            k = 2
        if self.score_as == "contrast" and k < 2:
            raise ModelError(
                f"a contrast needs a second class, the model gives {k} output; use"
                " score_as='binary'"
            )
        for value in (int(classes.max()), *self._against()):
            if not -1 <= value < k:
                raise InputError(
                    f"class {value} is out of range: the model has {k} classes"
                    f" (0..{k - 1}){choice(read)}"
                )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes the top class."""
        if self.score_as == "weighted_sum":
            return dict(target)
        z = self._logits(outputs)
        top = (z[:, 0] > 0).to(torch.int64) if self.score_as == "binary" else z.argmax(1)
        classes = torch.where(target["target"] < 0, top, target["target"])
        resolved = {"target": classes}
        if self.score_as == "contrast" and self.against is None:
            resolved["against"] = similar(z, classes, self.nearest)
        return resolved

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """y^c; one-hot products instead of indexing, whose gradient exports as a plain product."""
        z = self._logits(outputs)
        check_row_each(z, target)
        if self.score_as == "weighted_sum":
            return (z * target["weights"].to(z.dtype)).sum(1)
        classes = target["target"]
        if self.score_as == "binary":
            return z[:, 0] * (2 * classes - 1).to(z.dtype)
        chosen = one_hot(classes, z)
        if self.score_as == "probability":
            z = self._probabilities(outputs)
        elif self.score_as == "log_probability":
            z = self._log_probabilities(outputs)
        elif self.score_as == "rest":
            z = z + self._log_probabilities(outputs)
        elif self.score_as == "regression":
            chosen = chosen * self.sign
        elif self.score_as == "contrast":
            if self.against is None:
                others = list(target["against"].unbind(1))
            else:
                others = [torch.full_like(classes, c) for c in self._against()]
            chosen = chosen - self.strength / len(others) * sum(one_hot(c, z) for c in others)
        return weighed(z, chosen).sum(1)

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """softmax(z)_c, or what the model itself gives as the probability;
        of a binary logit the logistic function.

        Other scores as they are.
        """
        if self.score_as == "binary":
            return self.score(outputs, target).sigmoid()
        if self.score_as not in ("logit", "log_probability", "rest"):
            return self.score(outputs, target)
        p = self._probabilities(outputs)
        check_row_each(p, target)
        return (p * one_hot(target["target"], p)).sum(1)

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Outputs that may be the classes as well, and probabilities without their logits."""
        if self.reading:
            yield from doubts(self.reading, self.score_as, CHOOSE)

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

    def grid(
        self, activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str
    ) -> Grid:
        """As read from the model, or tokens on the grid that was given."""
        if self.patch_grid is not None and activation.dim() == 3:
            h, w = self.patch_grid
            prefix = activation.shape[1] - h * w
            if prefix < 0:
                raise InputError(
                    f"patch_grid {h}x{w} needs {h * w} tokens, layer {name!r} puts out"
                    f" {activation.shape[1]}"
                )
            return Grid("tokens", prefix, (h, w))
        return find_grid(activation, image_size, model, module, name)

    def _against(self) -> Sequence[int]:
        if self.score_as != "contrast" or self.against is None:
            return ()
        return (self.against,) if isinstance(self.against, int) else tuple(self.against)

    def _reading(self, outputs: Any) -> Reading:
        if self.reading is None and isinstance(outputs, Answer) and outputs.refused:
            raise outputs.refused
        found = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        return found or reading(said(outputs), nn.Identity(), Lineage(), self.output, self._row)

    def _row(self, tensor: Tensor) -> Float[Tensor, "b k"] | None:
        z = tensor.flatten(1) if tensor.dim() == 4 and tensor.shape[2:] == (1, 1) else tensor
        if z.dim() == 1 and self.score_as in ("binary", "regression"):
            z = z[:, None]
        return z if z.dim() == 2 else None

    def _own(self, outputs: Any) -> Float[Tensor, "b k"]:
        """What the model itself says of the classes."""
        read, tensors = self._reading(outputs), list(named(said(outputs)).values())
        z = self._row(tensors[read.index]) if read.index < len(tensors) else None
        if z is None:
            shapes = (
                ", ".join(str(tuple(v.shape)) for v in tensors[:4]) or "no floating-point tensor"
            )
            raise ModelError(
                f"the model returned {shapes}; the classification adapter reads [b,k] as"
                f" {shown(read)}"
            )
        return z

    def _behind(self, outputs: Any) -> Float[Tensor, "b k"] | None:
        """The logits behind what the model says, where they were found."""
        logits = outputs.logits if isinstance(outputs, Answer) else None
        return None if logits is None else self._row(logits)

    def _logits(self, outputs: Any) -> Float[Tensor, "b k"]:
        """Logits, or what takes their place for this score."""
        own, behind = self._own(outputs), self._behind(outputs)
        if self.score_as == "regression":
            return own
        if behind is not None:
            return behind
        link = self._reading(outputs).link
        if link and self.score_as == "binary":
            return inverse_sigmoid(own.exp() if link.startswith("log") else own)
        return (
            logarithm(own)
            if link in ("softmax", "sigmoid") and self.score_as == "contrast"
            else own
        )

    def _probabilities(self, outputs: Any) -> Float[Tensor, "b k"]:
        own, read = self._own(outputs), self._reading(outputs)
        link = read.link
        if link is None:
            return own if read.made else own.softmax(1)
        return own.exp() if link.startswith("log") else own

    def _log_probabilities(self, outputs: Any) -> Float[Tensor, "b k"]:
        own, behind, link = self._own(outputs), self._behind(outputs), self._reading(outputs).link
        if link is None:
            return own.log_softmax(1)
        if link.startswith("log"):
            return own
        if behind is None:
            return logarithm(own)
        return behind.log_softmax(1) if link == "softmax" else -F.softplus(-behind)
