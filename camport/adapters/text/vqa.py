"""Visual question answering: what in the image made the model answer so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.classification.adapter import ClassificationAdapter, Score
from camport.adapters.classification.outputs import Reading, answered, choice, doubts
from camport.adapters.classification.target import check_row_each
from camport.adapters.reading import one_hot
from camport.adapters.text.asking import (
    EMPTY,
    answers_to,
    named_answer,
    parts_from,
    patches_behind_text,
    question_of,
)
from camport.core.adapter import Adapter
from camport.core.maps.heatmap import Size
from camport.core.maps.token_grid import Grid
from camport.errors import InputError


@dataclass(frozen=True)
class VqaAdapter(Adapter):
    """Explains an answer among k of a model that is asked a question: y = z_answer,
    of logits z [b,k].

    The model is called as `model(images, question)`, or by transformers' names (ViLT). Of several
    outputs, and of probabilities, the answers' logits are found as by `ClassificationAdapter`; of
    several [b,k] those with a column for each of `answers`. `target` is a question, a pair
    (question, answer), or a dictionary of
        "question": a text, where the adapter has a vocabulary, or tokens, int64 [t] or [b,t];
        "answer": a text, a class or int64 [b]; -1, or left out, is what the model answers;
        "against": in a contrast, the answer that might have been given; left out, the runner-up.

    Args:
        vocabulary: the questions' words by token; texts are split at blanks, without question
            marks. Left out, those that the model names (`question_words`), if it does; likewise its
            `answers` and `question_length`.
        answers: the answers by class.
        length: tokens of a question, padded; None leaves them as given (8 in an exported file).
        pad: the token that pads.
        contrast: y = z_answer - z_against.
        output: which of several outputs holds the answers: a key, a field, or its number.
        reading: how outputs are read; told at the first call.
    """

    name: ClassVar[str] = "vqa"
    title: ClassVar[str] = "An answer to a question about the image"
    method: ClassVar[str] = "layercam"
    settles_in_passing: ClassVar[bool] = True

    vocabulary: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    length: int | None = None
    pad: int = 0
    contrast: bool = False
    output: str | int | None = None
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 1:
            raise InputError(f"length is {self.length}; a question has 1 token or more")

    @property
    def inputs(self) -> tuple[str, ...]:
        """`question` int64 [b,t], `answer` int64 [b]; for a contrast also `against` int64 [b]."""
        return ("question", "answer", "against") if self.contrast else ("question", "answer")

    def prepare_for(
        self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]
    ) -> dict[str, Tensor]:
        """As `prepare`, with the words that the model names."""
        return self.settled(model, None).prepare(target, images)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Question and answer for each image."""
        parts = parts_from(target, ("question", "answer", "against"))
        question = question_of(parts["question"], self.vocabulary, self.length, self.pad, images)
        prepared = {
            "question": question,
            "answer": named_answer(parts.get("answer", -1), self.answers, "answer", images),
        }
        if self.contrast:
            prepared["against"] = named_answer(
                parts.get("against", -1), self.answers, "against", images
            )
        elif "against" in parts:
            raise InputError("target has against; for a contrast use VqaAdapter(contrast=True)")
        return prepared

    def ask(
        self, model: nn.Module, images: Float[Tensor, "b c H W"], target: Mapping[str, Tensor]
    ) -> Any:
        """Calls the model on the images and the question."""
        if "question" not in target:
            raise InputError(EMPTY)
        known, row = len(self.answers) or None, self._classes._row

        def call() -> Any:
            return answers_to(model, images, target["question"], self.pad)

        try:
            return answered(
                call, model, images.shape[0], self.reading, self.output, row, known, self.name
            )
        except IndexError as error:
            raise InputError(
                f"the question has the token {int(target['question'].max())}, which the model does"
                " not know"
            ) from error

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for an answer that the model cannot give."""
        k = self._rows(outputs, target).shape[1]
        read = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        other = choice(read) if read else ""
        for name in self.inputs[1:]:
            largest = int(target[name].max())
            if largest >= k:
                raise InputError(
                    f"{name} {largest} is out of range: the model has {k} answers"
                    f" (0..{k - 1}){other}"
                )
        if not self.contrast:
            return
        if k < 2:
            raise InputError(f"a contrast needs a second answer, the model has {k}")
        resolved = self.resolve(outputs, target)
        same = resolved["answer"] == resolved["against"]
        if bool(same.any()):
            i = int(same.nonzero()[0])
            raise InputError(
                f"answer and against of image {i} are both {int(resolved['answer'][i])}; give"
                " another one"
            )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes what the model answers; against it, the likeliest other answer."""
        z = self._rows(outputs, target)
        answer = torch.where(target["answer"] < 0, z.argmax(1), target["answer"])
        resolved = {**target, "answer": answer}
        if self.contrast:
            others = torch.where(one_hot(answer, z) > 0, torch.full_like(z, -torch.inf), z)
            resolved["against"] = torch.where(
                target["against"] < 0, others.argmax(1), target["against"]
            )
        return resolved

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """The answer's logit, or the difference of two."""
        return self._classes.score(outputs, self._asked(target))

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """softmax(z)_answer; of a contrast the logistic function."""
        if self.contrast:
            return self.score(outputs, target).sigmoid()
        return self._classes.probability(outputs, self._asked(target))

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Outputs that may be the answers as well, and probabilities without their logits."""
        if self.reading:
            score = "contrast" if self.contrast else "logit"
            yield from doubts(self.reading, score, "VqaAdapter(output={name!r})")

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The answers."""
        return target["answer"]

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random questions of the vocabulary, or of the first few tokens, and random answers."""
        k, known = self._classes._logits(outputs).shape[1], max(len(self.vocabulary), 4)
        question = torch.randint(1, known, (batch, self.length or 8), generator=generator)
        if self.pad:
            question[question == self.pad] = 0
        answer = torch.randint(k, (batch,), generator=generator)
        answer[1::2] = -1
        drawn = {"question": question, "answer": answer}
        if self.contrast:
            drawn["against"] = torch.full_like(answer, -1)
        return drawn

    def settled(self, model: nn.Module, outputs: Any) -> VqaAdapter:
        """With the model's words and answers, where it names them (`question_words`, `answers`,
        `question_length`)."""
        read = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        return replace(
            self,
            reading=read,
            vocabulary=self.vocabulary or tuple(getattr(model, "question_words", ())),
            answers=self.answers or tuple(getattr(model, "answers", ())),
            length=self.length or getattr(model, "question_length", None),
        )

    def grid(
        self, activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str
    ) -> Grid:
        """As read from the model; a question's tokens before the patches are dropped."""
        return patches_behind_text(activation, image_size, model, module, name)

    @property
    def _classes(self) -> ClassificationAdapter:
        """Answers are classes, scored as such."""
        score: Score = "contrast" if self.contrast else "logit"
        return ClassificationAdapter(score, output=self.output, reading=self.reading)

    def _rows(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, "b k"]:
        z = self._classes._logits(outputs)
        check_row_each(z, target)
        return z

    def _asked(self, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The target as that of a classification."""
        against = {"against": target["against"][:, None]} if self.contrast else {}
        return {"target": target["answer"], **against}
