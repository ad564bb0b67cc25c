"""Visual question answering by models that write their answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.text.asking import EMPTY, parts_from, question_of, spoken_answer
from camport.adapters.text.captioning import CaptioningAdapter
from camport.core.adapter import Adapter
from camport.errors import InputError


@dataclass(frozen=True)
class WrittenAnswerAdapter(Adapter):
    """Explains an answer that a model writes: y = sum over its tokens of log p(token | prefix,
    question, image).

    The model is BLIP's for questions, or any called as `model(images, question, tokens)`. `target`
    is a question, a pair (question, tokens), or a dictionary of "question" as for `VqaAdapter`, and
    "tokens", "span", "word", "against" as for `CaptioningAdapter`; an answer that is left out is
    the one the model writes.

    Args:
        vocabulary: the questions' words by token; left out, those that the model names
            (`question_words`), if it does; likewise its `question_length`.
        answers: how the answer is written and scored: its vocabulary, prompt, end, length,
            contrast.
        question_length: tokens of a question, padded; None leaves them as given (8 in an exported
            file).
        pad: the token that pads questions.
    """

    name: ClassVar[str] = "vqa-words"
    title: ClassVar[str] = "An answer to a question about the image, written word by word"
    method: ClassVar[str] = "layercam"
    settles_in_passing: ClassVar[Literal["one image"]] = "one image"

    vocabulary: tuple[str, ...] = ()
    answers: CaptioningAdapter = field(default_factory=lambda: CaptioningAdapter(length=6))
    question_length: int | None = None
    pad: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """`question` int64 [b,q], `tokens` int64 [b,t], `span` int64 [b,2]."""
        return ("question", *self.answers.inputs)

    def prepare_for(
        self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]
    ) -> dict[str, Tensor]:
        """As `prepare`; an answer that is left out is the one that the model writes."""
        whole = self.settled(model, None)
        parts, question = whole._question(target, images)
        own = whole.answers
        if "tokens" not in parts:
            parts["tokens"] = own.written(
                model,
                lambda tokens: self.ask(model, images, {"question": question, "tokens": tokens}),
                images,
            )
        return {"question": question, **own.prepare(parts, images)}

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Question, tokens and span of an answer that is given."""
        parts, question = self._question(target, images)
        return {"question": question, **self.answers.prepare(parts, images)}

    def ask(
        self, model: nn.Module, images: Float[Tensor, "b c H W"], target: Mapping[str, Tensor]
    ) -> Any:
        """Calls the model on the images, the question and the answer;
        InputError for a token it does not know."""
        if "question" not in target:
            raise InputError(EMPTY)
        question, tokens = target["question"], target["tokens"]
        try:
            return self.answers.heard(
                model, spoken_answer(model, images, question, tokens, self.pad), tokens
            )
        except IndexError as error:
            raise InputError(
                f"the question has tokens up to {int(question.max())} and the answer up to"
                f" {int(tokens.max())}, and the model does not know one of them"
            ) from error

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return self.answers.said(outputs)

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Outputs that may be the words' logits as well."""
        return self.answers.doubts(target, method)

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for tokens that the model does not know."""
        self.answers.check(outputs, target)

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A span of -1 becomes the whole answer."""
        return self.answers.resolve(outputs, target)

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """The sum of the explained tokens' log-probabilities."""
        return self.answers.score(outputs, target)

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """p of the explained tokens together."""
        return self.answers.probability(outputs, target)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The answer with -1 for what was not explained."""
        return self.answers.explained(target)

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random questions and answers."""
        known = max(len(self.vocabulary), 4)
        question = torch.randint(1, known, (batch, self.question_length or 8), generator=generator)
        return {"question": question, **self.answers.sample(outputs, batch, generator)}

    def settled(self, model: nn.Module, outputs: Any) -> WrittenAnswerAdapter:
        """With the model's own start and end tokens, and its words and length of a question where
        it names them (`question_words`, `question_length`)."""
        return replace(
            self,
            answers=self.answers.settled(model, outputs),
            vocabulary=self.vocabulary or tuple(getattr(model, "question_words", ())),
            question_length=self.question_length or getattr(model, "question_length", None),
        )

    def _question(self, target: Any, images: Tensor) -> tuple[dict[str, Any], Tensor]:
        parts = parts_from(target, ("question", "tokens", "span", "word", "nth", "against"))
        question = question_of(
            parts.pop("question"), self.vocabulary, self.question_length, self.pad, images
        )
        return parts, question
