"""Words in a row of tokens, and one map for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camport.core.bound import Bound
from camport.core.explanation import Explanation
from camport.errors import InputError, nearest

BEGINS = ("Ġ", "▁")
CONTINUES = "##"


@dataclass(frozen=True)
class Word:
    """A word of a caption.

    Attributes:
        text: as a person reads it.
        start, end: its tokens, `tokens[start:end]`.
    """

    text: str
    start: int
    end: int


def words_of(pieces: Sequence[str]) -> list[Word]:
    """The words that tokens make, the pieces of each joined; special tokens are none, and what is behind the end.

    `pieces` are the tokens as texts, `tokenizer.convert_ids_to_tokens(tokens)` in transformers. "##ing" continues a
    word; where any piece begins with "Ġ" or "▁", those that do not continue one.
    """
    marked = any(piece.startswith(BEGINS) for piece in pieces)
    found: list[Word] = []
    open_word = False
    for i, piece in enumerate(pieces):
        if _special(piece):
            if found:
                break
            open_word = False
            continue
        begins = not piece.startswith(CONTINUES) and (not marked or piece.startswith(BEGINS) or _punctuation(piece))
        text = piece.removeprefix(CONTINUES).lstrip("".join(BEGINS))
        if begins or not open_word:
            found.append(Word(text, i, i + 1))
        else:
            last = found.pop()
            found.append(Word(last.text + text, last.start, i + 1))
        open_word = True
    return found


def word_in(words: Sequence[Word], text: str, nth: int = 1) -> Word:
    """The n-th word that reads `text`; InputError names those that there are."""
    same = [word for word in words if word.text.lower() == text.lower()]
    if not 1 <= nth <= len(same):
        said = " ".join(word.text for word in words)
        texts = list(dict.fromkeys(word.text for word in words))
        near = nearest(text, texts) or texts
        what = f"{len(same)} times the word {text!r}, not {nth}" if same else f"no word {text!r}"
        raise InputError(f"the caption {said!r} has {what}; nearest: {', '.join(near)}")
    return same[nth - 1]


@dataclass(frozen=True)
class WordMaps:
    """One explanation a word of the caption of one image.

    Attributes:
        words: in the caption's order.
        explanation: row i explains word i.
        tokens: int64 [t], the caption.
    """

    words: tuple[Word, ...]
    explanation: Explanation
    tokens: Tensor

    @property
    def caption(self) -> str:
        """The words in a row."""
        return " ".join(word.text for word in self.words)


def explain_words(bound: Bound, image: Tensor, caption: Any = None, *, pieces: Sequence[str] | None = None) -> WordMaps:
    """Explains every word of a caption of one image: one map a word.

    Args:
        bound: a method bound to a captioner, with a captioning adapter.
        image: [3,H,W] or [1,3,H,W], as the model wants it.
        caption: as the adapter's target; None is the caption that the model writes.
        pieces: the tokens as texts where the adapter has no vocabulary, `tokenizer.convert_ids_to_tokens(tokens)`.

    Raises:
        InputError: more than one image, no or not enough texts for the tokens, or a caption without words.
    """
    images = image[None] if image.dim() == 3 else image
    if images.dim() != 4 or images.shape[0] != 1:
        raise InputError(f"image has shape {tuple(image.shape)}; the words of one image are explained, [3,H,W]")
    given = bound._prepared(caption, images)
    tokens = given["tokens"][0]
    vocabulary: Sequence[str] = getattr(bound.adapter.settled(bound.model, None), "vocabulary", ())
    if pieces is None:
        if not vocabulary:
            raise InputError("the adapter has no vocabulary; give pieces=tokenizer.convert_ids_to_tokens(tokens)")
        if int(tokens.max()) >= len(vocabulary):
            raise InputError(f"token {int(tokens.max())} is out of range: the vocabulary has {len(vocabulary)} tokens")
        pieces = [vocabulary[token] for token in tokens.tolist()]
    if len(pieces) != len(tokens):
        raise InputError(f"pieces has {len(pieces)} texts for {len(tokens)} tokens; give one a token")
    words = [word for word in words_of(pieces) if word.start > 0 and not _punctuation(word.text)]
    if not words:
        raise InputError("the caption has no word to explain")
    n = len(words)
    spans = torch.tensor([[word.start, word.end] for word in words], device=images.device)
    rows = {"tokens": tokens.expand(n, -1), "span": spans}
    return WordMaps(tuple(words), bound(images.expand(n, -1, -1, -1), rows), tokens)


def _special(piece: str) -> bool:
    return len(piece) > 2 and piece[0] + piece[-1] in ("<>", "[]")


def _punctuation(text: str) -> bool:
    return not any(letter.isalnum() for letter in text)
