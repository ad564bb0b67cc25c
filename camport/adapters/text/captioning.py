"""Captioning: what in the image made the model write a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.adapters.answer import Answer, said
from camport.adapters.reading import a_row_each, one_hot, parts_of, whole
from camport.adapters.text.next_words import NextWords, doubts, heard, reading, rows
from camport.adapters.text.placeholders import check_placeholders, reads_placeholders
from camport.adapters.text.speaking import (
    END_NAMES,
    START_NAMES,
    greedy,
    prompt_of,
    speak,
    token_of,
)
from camport.adapters.text.vocabulary import rival_tokens, span_of_word
from camport.core.adapter import Adapter
from camport.core.maps.ruled_out import weighed
from camport.errors import InputError, ModelError

EXAMPLE = '{"tokens": ..., "span": (2, 3)}'
WHOLE = -1
"""In a span: the whole caption."""
LENGTH = 20
"""Tokens of a caption where neither the user nor the model says how many."""


@dataclass(frozen=True)
class CaptioningAdapter(Adapter):
    """Explains words of a caption, teacher-forced:
    y = sum over tokens t of a span of log p(token_t | prefix, image).

    The model is called once, as `model(images, tokens)` or by transformers' names, and gives for
    every token logits of the one that follows, [b,t,v]; further rows before them (GIT's image
    tokens) are left out. Of several outputs `logits` is read; else the one with a column for each
    word, or that is called like scores; and a DoubtWarning names the others. Probabilities of words
    are read as such.

    `target` is None (the whole caption that the model writes, the likeliest token each time), a
    word in that caption, a span of it (start, end), or a dictionary of
        "tokens": int64 [t] or [b,t], a caption with its start token;
        "span": (start, end) or [b,2], tokens[start:end] are explained; (-1, -1) is the whole
        caption; "word": a word in it, where the adapter has a vocabulary, and "nth": which, where
        it comes several times; "against": in a contrast, the word or token that might have stood
        there.

    Args:
        vocabulary: the tokens as texts; left out, those that the model names (`caption_words`),
            if it does.
        prompt: tokens that every caption begins with; None is the model's own start token.
        end: the token behind the last word; None is the model's own.
        length: tokens of a caption that the model writes, and of the input of an exported file;
            None is the model's own longest, where it names it (`caption_length`), or else 20.
        contrast: y = log p(first token of the span) - log p(`against` in its place).
        score_as: "logit" takes the tokens' logits in place of log p: what speaks for the word,
            without what speaks against all others.
        output: which of several outputs holds the logits: a key, a field, or its number.
        reading: how outputs are read; told at the first call.
    """

    name: ClassVar[str] = "captioning"
    title: ClassVar[str] = "Words of a caption"
    method: ClassVar[str] = "layercam"
    settles_in_passing: ClassVar[Literal["one image"]] = "one image"

    vocabulary: tuple[str, ...] = ()
    prompt: tuple[int, ...] | None = None
    end: int | None = None
    length: int | None = None
    contrast: bool = False
    score_as: Literal["log_probability", "logit"] = "log_probability"
    output: str | int | None = None
    reading: NextWords | None = None

    def __post_init__(self) -> None:
        if self.score_as not in ("log_probability", "logit"):
            raise InputError(f"score_as is {self.score_as!r}; it is log_probability or logit")
        length = self._length
        if length < 2 or (self.prompt is not None and not 1 <= len(self.prompt) < length):
            raise InputError(
                f"length is {length}; it counts the prompt, of 1 token or more, and a word at least"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """`tokens` int64 [b,t] and `span` int64 [b,2]; for a contrast also `against` int64 [b]."""
        return ("tokens", "span", "against") if self.contrast else ("tokens", "span")

    def prepare_for(
        self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]
    ) -> dict[str, Tensor]:
        """As `prepare`; a caption that is left out is the one that the model writes."""
        parts = self._parts(target)
        own = self.settled(model, None)
        if "tokens" not in parts:
            parts["tokens"] = own.written(
                model, lambda tokens: speak(model, images, tokens), images
            )
        prepared = own._prepared(parts, images)
        if reads_placeholders(model):
            check_placeholders(model, images, prepared["tokens"])
        return prepared

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Tokens and span of a caption that is given."""
        parts = self._parts(target)
        if "tokens" not in parts:
            raise InputError(f"there is no caption; give its tokens, e.g. {EXAMPLE}")
        return self._prepared(parts, images)

    def ask(
        self, model: nn.Module, images: Float[Tensor, "b c H W"], target: Mapping[str, Tensor]
    ) -> Any:
        """Calls the model on the images and the caption;
        InputError for a token that it does not know."""
        if "tokens" not in target:
            raise InputError(
                f"a captioner is asked about a caption; give its tokens, e.g. {EXAMPLE}"
            )
        tokens = target["tokens"]
        try:
            return self.heard(model, speak(model, images, tokens), tokens)
        except IndexError as error:
            with torch.no_grad():
                known = _z(
                    self.heard(model, speak(model, images, torch.zeros_like(tokens)), tokens), 1
                ).shape[2]
            if int(tokens.max()) < known:
                raise
            raise InputError(
                f"token {int(tokens.max())} is out of range: the model knows {known} tokens"
            ) from error

    def heard(self, model: nn.Module, outputs: Any, tokens: Tensor) -> Answer:
        """What the model said of `tokens`, with the logits in it."""
        if isinstance(outputs, Answer):
            return outputs
        return heard(outputs, tokens, model, self.reading, len(self.vocabulary), self.output)

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Outputs that may be the words' logits as well."""
        if self.reading:
            yield from doubts(self.reading, "CaptioningAdapter(output={name!r})")

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for tokens that the model does not know,
        ModelError for a logit of probabilities."""
        tokens = target["tokens"]
        known, read = (
            _z(outputs, tokens.shape[1]).shape[2],
            self.reading or getattr(outputs, "reading", None),
        )
        if self.score_as == "logit" and not self.contrast and read and read.kind != "logits":
            raise ModelError(
                f"score_as='logit' needs logits, and the model gives {read.kind} of its words;"
                " return the logits, or use score_as='log_probability'"
            )
        largest = int(
            torch.cat([tokens.flatten(), *([target["against"]] if self.contrast else [])]).max()
        )
        if largest >= known:
            raise InputError(
                f"token {largest} is out of range: the model knows {known} tokens (0..{known - 1})"
            )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A span of -1 becomes the whole caption, up to its end."""
        span = target["span"]
        return {
            **target,
            "span": torch.where((span < 0).all(1, keepdim=True), self._all(target["tokens"]), span),
        }

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """The sum of the explained tokens' log-probabilities, or the difference of two tokens'."""
        tokens, span = target["tokens"], target["span"]
        place = torch.arange(1, tokens.shape[1], device=tokens.device)[None]
        first, last = span[:, :1], span[:, 1:]
        z = _z(outputs, tokens.shape[1])[:, :-1]
        z = z if self.score_as == "logit" else z.log_softmax(2)
        words = torch.arange(z.shape[2], device=tokens.device)
        chosen = (words == tokens[:, 1:, None]).to(z.dtype)
        if self.contrast:
            chosen = chosen - one_hot(target["against"], z, 2)
            last = first + 1
        explained = ((place >= first) & (place < last)).to(z.dtype)
        return weighed(z, chosen * explained[:, :, None]).sum((1, 2))

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """p of the explained tokens together; of a contrast the logistic function."""
        y = replace(self, score_as="log_probability").score(outputs, target)
        return y.sigmoid() if self.contrast else y.exp()

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The caption with -1 for what was not explained, [b,t]."""
        tokens, span = target["tokens"], target["span"]
        place = torch.arange(tokens.shape[1], device=tokens.device)[None]
        inside = (place >= span[:, :1]) & (place < span[:, 1:])
        return torch.where(inside, tokens, torch.full_like(tokens, -1))

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random captions of `length`, and spans in them, every second the whole."""
        known = _z(outputs, 1).shape[2]
        prompt = torch.tensor(self.prompt or (0,))
        tokens = torch.randint(known, (batch, self._length), generator=generator)
        # images stand in prompts
        tokens = torch.where(torch.isin(tokens, prompt), (prompt.max() + 1) % known, tokens)
        tokens[:, : len(prompt)] = prompt
        first = torch.randint(len(prompt), self._length, (batch, 1), generator=generator)
        span = torch.cat([first, (first + 2).clamp_max(self._length)], 1)
        if not self.contrast:
            span[1::2] = WHOLE
            return {"tokens": tokens, "span": span}
        return {
            "tokens": tokens,
            "span": span,
            "against": torch.randint(known, (batch,), generator=generator),
        }

    def settled(self, model: nn.Module, outputs: Any) -> CaptioningAdapter:
        """With the model's own start and end tokens, words (`caption_words`) and length,
        where it names them."""
        end = token_of(model, "end_token", END_NAMES) if self.end is None else self.end
        start = token_of(model, "start_token", START_NAMES) if self.prompt is None else None
        words = self.vocabulary or tuple(getattr(model, "caption_words", ()))
        length = self.length or getattr(model, "caption_length", None)
        prompt = self.prompt if start is None else (start,)
        read = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        return replace(self, end=end, prompt=prompt, vocabulary=words, length=length, reading=read)

    def written(self, model: nn.Module, say: Callable[[Tensor], Any], images: Tensor) -> Tensor:
        """What the model writes where `say(tokens)` calls it, int64 [b,length]."""

        def logits(tokens: Tensor) -> Tensor:
            return _z(self.heard(model, say(tokens), tokens), 1)

        return greedy(logits, images, prompt_of(model, self.prompt), self.end, self._length)

    @property
    def _length(self) -> int:
        return LENGTH if self.length is None else self.length

    def _parts(self, target: Any) -> dict[str, Any]:
        if target is None:
            return {}
        if isinstance(target, str):
            return {"word": target}
        if isinstance(target, tuple):
            return {"span": target}
        return parts_of(target, ("tokens", "span", "word", "nth", "against"), EXAMPLE)

    def _prepared(self, parts: dict[str, Any], images: Tensor) -> dict[str, Tensor]:
        b, device = images.shape[0], images.device
        tokens = whole(parts["tokens"], "tokens", "int64 [t] or [b,t]", device)
        tokens = a_row_each(tokens, 2, b, "tokens", "int64 [t] or [b,t]")
        if tokens.shape[1] < 2 or bool((tokens < 0).any()):
            least = int(tokens.min()) if tokens.numel() else "none"
            raise InputError(
                f"tokens {tuple(tokens.shape)} with values from {least}; wanted a start and a word,"
                " from 0"
            )
        if "word" in parts and "span" in parts:
            raise InputError("target has word and span; give one of them")
        if "word" in parts:
            rows = [
                span_of_word(self.vocabulary, row, i, parts["word"], parts.get("nth", 1))
                for i, row in enumerate(tokens.tolist())
            ]
            span = torch.tensor(rows, device=device)
        else:
            span = whole(
                parts.get("span", (WHOLE, WHOLE)), "span", "(start, end) or int64 [b,2]", device
            )
            span = a_row_each(span, 2, b, "span", "(start, end) or int64 [b,2]")
        if span.shape[1] != 2:
            raise InputError(f"span has {span.shape[1]} numbers; wanted (start, end)")
        span = torch.where((span == WHOLE).all(1, keepdim=True), self._all(tokens), span)
        wrong = (span[:, 0] < 1) | (span[:, 1] <= span[:, 0]) | (span[:, 1] > tokens.shape[1])
        if bool(wrong.any()):
            odd = tuple(span[int(wrong.nonzero()[0])].tolist())
            raise InputError(
                f"span {odd} is no part of the caption's {tokens.shape[1]} tokens: 1 <= start < end"
                f" <= {tokens.shape[1]}, since token 0 is the start"
            )
        prepared = {"tokens": tokens, "span": span}
        if self.contrast:
            if "against" not in parts:
                raise InputError('a contrast needs the word that might have stood there: "against"')
            prepared["against"] = a_row_each(
                rival_tokens(self.vocabulary, parts["against"], device),
                1,
                b,
                "against",
                "int64 [b]",
            )
        elif "against" in parts:
            raise InputError(
                "target has against; for a contrast use CaptioningAdapter(contrast=True)"
            )
        return prepared

    def _all(self, tokens: Tensor) -> Tensor:
        """Behind the prompt, up to the end."""
        b, t = tokens.shape
        first = min(len(self.prompt or (0,)), t - 1)
        place = torch.arange(t, device=tokens.device)[None].expand(b, -1)
        ends = (
            torch.full_like(place, t)
            if self.end is None
            else torch.where((tokens == self.end) & (place > first), place, t)
        )
        return torch.stack([torch.full_like(place[:, 0], first), ends.amin(1)], 1)


def _z(outputs: Any, t: int) -> Float[Tensor, "b t v"]:
    """Logits, or log-probabilities, of the next word at each of the last t places."""
    if isinstance(outputs, Answer) and outputs.logits is not None:
        return outputs.logits[:, outputs.logits.shape[1] - t :]
    own = said(outputs)
    return rows(own, reading(own, _first(own), t, set(), None), t)


def _first(outputs: Any) -> int:
    return next(
        int(v.shape[0]) for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.dim() == 3
    )
