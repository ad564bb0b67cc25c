"""Words in a row of tokens, and one map for each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camport.core.bound import Bound
from camport.core.explanation import Explanation
from camport.errors import InputError, nearest

BEGINS = ("Ġ", "▁")
"""What begins a word, in GPT-2's vocabularies and in SentencePiece's."""
CONTINUES, ENDS = "##", "</w>"
"""What continues a word in BERT's vocabularies, and what ends one in CLIP's."""
SPECIAL = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
UNKNOWN = re.compile(r"<\|?unk(?:nown)?\|?>|\[UNK\]", re.IGNORECASE)
"""A word like any other, whose letters the vocabulary lacks."""
INNER = re.compile("[-'\u2019.,:/]")
"""Punctuation within a word: t-shirt, don't, 3.5."""


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
    """The words that tokens make, the pieces of each joined; special tokens are none,
    and what is behind the end.

    `pieces` are the tokens as texts, `tokenizer.convert_ids_to_tokens(tokens)` in transformers.
    "##ing" continues a word, "dog</w>" ends one; where any piece begins with "Ġ" or "▁", those that
    do not continue one. An unknown word ("<unk>", "[UNK]") is a word. "<0xC3>" is a byte: of a
    word, decoded with its neighbours as UTF-8, or a line break between words. The first other
    special token behind a word ends the caption.
    """
    rule = _rule(pieces)
    found: list[tuple[list[str], int, int]] = []  # the pieces of a word, and where they stand
    open_word = False
    for i, piece in enumerate(pieces):
        byte = BYTE.fullmatch(piece)
        if (byte and int(byte[1], 16) <= 0x20) or (rule.byte_letters and _blank(piece)):
            open_word = False
            continue
        if _special(piece):
            if found:
                break
            open_word = False
            continue
        behind = pieces[i + 1] if i + 1 < len(pieces) else ""
        if open_word and not rule.begins(piece, behind):
            texts, start, _ = found.pop()
            found.append(([*texts, rule.text(piece)], start, i + 1))
        else:
            found.append(([rule.text(piece)], i, i + 1))
        open_word = not rule.ends(piece)
    return [Word(_decoded(texts, rule.byte_letters), start, end) for texts, start, end in found]


@dataclass(frozen=True)
class _Rule:
    """How a vocabulary marks where words begin and end."""

    marked: bool
    ended: bool
    byte_letters: bool

    def begins(self, piece: str, behind: str) -> bool:
        if BYTE.fullmatch(piece) or piece.startswith(CONTINUES):
            return False
        if UNKNOWN.fullmatch(piece):
            return True
        if self.ended:  # what was open goes on until a piece ends it
            return False
        if not self.marked or piece.startswith(BEGINS):
            return True
        if self.byte_letters and any(_BYTE_OF.get(letter, 0) >= 0x80 for letter in piece):
            return False  # a part of a letter
        inside = INNER.fullmatch(piece) and not (
            behind.startswith(BEGINS) or _special(behind) or _punctuation(behind)
        )
        return _punctuation(piece) and not inside

    def ends(self, piece: str) -> bool:
        return bool(UNKNOWN.fullmatch(piece)) or (self.ended and piece.endswith(ENDS))

    def text(self, piece: str) -> str:
        return piece.removeprefix(CONTINUES).lstrip("".join(BEGINS)).removesuffix(ENDS)


def _rule(pieces: Sequence[str]) -> _Rule:
    return _Rule(
        marked=any(piece.startswith(BEGINS) for piece in pieces),
        ended=any(piece.endswith(ENDS) for piece in pieces),
        byte_letters=any(piece.startswith("Ġ") for piece in pieces),
    )


def _decoded(texts: Sequence[str], byte_letters: bool) -> str:
    """The pieces of a word with their bytes as letters: "<0xC3>", "<0xA9>",
    and GPT-2's letters that are bytes."""
    raw = b""
    for text in texts:
        byte = BYTE.fullmatch(text)
        if byte:
            raw += bytes([int(byte[1], 16)])
        elif byte_letters and all(letter in _BYTE_OF for letter in text):
            raw += bytes(_BYTE_OF[letter] for letter in text)
        else:
            raw += text.encode()
    return raw.decode("utf-8", errors="replace")


def _letters() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves,
    the others for the letters from U+0100 on."""
    own = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    table = {chr(byte): byte for byte in own}
    for byte in range(256):
        if byte not in own:
            table[chr(256 + len(table) - len(own))] = byte
    return table


_BYTE_OF = _letters()


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

    def __str__(self) -> str:
        return self.caption


def explain_words(
    bound: Bound, image: Tensor, caption: Any = None, *, pieces: Sequence[str] | None = None
) -> WordMaps:
    """Explains every word of a caption of one image: one map a word.

    Args:
        bound: a method bound to a captioner, with a captioning adapter.
        image: [3,H,W] or [1,3,H,W], as the model wants it.
        caption: as the adapter's target; None is the caption that the model writes.
        pieces: the tokens as texts where the adapter has no vocabulary,
            `tokenizer.convert_ids_to_tokens(tokens)`.

    Raises:
        InputError: more than one image, no or not enough texts for the tokens, or a caption without
            words.
    """
    images = image[None] if image.dim() == 3 else image
    if images.dim() != 4 or images.shape[0] != 1:
        raise InputError(
            f"image has shape {tuple(image.shape)}; the words of one image are explained, [3,H,W]"
        )
    given = bound._prepared(caption, images)
    tokens = given["tokens"][0]
    vocabulary: Sequence[str] = getattr(bound.adapter.settled(bound.model, None), "vocabulary", ())
    if pieces is None:
        if not vocabulary:
            raise InputError(
                "the adapter has no vocabulary; give pieces=tokenizer.convert_ids_to_tokens(tokens)"
            )
        if int(tokens.max()) >= len(vocabulary):
            raise InputError(
                f"token {int(tokens.max())} is out of range: the vocabulary has {len(vocabulary)}"
                " tokens"
            )
        pieces = [vocabulary[token] for token in tokens.tolist()]
    if len(pieces) != len(tokens):
        raise InputError(
            f"pieces has {len(pieces)} texts for {len(tokens)} tokens; give one a token"
        )
    words = [word for word in words_of(pieces) if word.start > 0 and not _punctuation(word.text)]
    if not words:
        raise InputError("the caption has no word to explain")
    n = len(words)
    spans = torch.tensor([[word.start, word.end] for word in words], device=images.device)
    rows = {"tokens": tokens.expand(n, -1), "span": spans}
    return WordMaps(tuple(words), bound(images.expand(n, -1, -1, -1), rows), tokens)


def _special(piece: str) -> bool:
    """Whether it is no text: a start, an end, a padding."""
    return bool(SPECIAL.fullmatch(piece)) and not (
        BYTE.fullmatch(piece) or UNKNOWN.fullmatch(piece)
    )


def _blank(piece: str) -> bool:
    """Whether GPT-2's letters are blanks and line breaks alone."""
    return all(_BYTE_OF.get(letter, 0x21) <= 0x20 for letter in piece)


def _punctuation(text: str) -> bool:
    return not any(letter.isalnum() for letter in text)
