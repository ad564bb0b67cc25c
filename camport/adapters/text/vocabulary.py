"""Words looked up among the tokens of a caption, and in a captioner's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camport.adapters.reading import shown, whole
from camport.adapters.text.words import word_in, words_of
from camport.errors import InputError, nearest


def span_of_word(
    vocabulary: Sequence[str], tokens: Sequence[int], image: int, word: Any, nth: Any
) -> list[int]:
    """Where the word stands among the tokens: [start, end]; InputError where it does not."""
    if not vocabulary:
        raise InputError(
            f"the word {word!r} cannot be looked up: give the adapter its vocabulary, or a span"
        )
    if not isinstance(word, str) or not isinstance(nth, int):
        raise InputError(f"word {shown(word)}, nth {shown(nth)}; wanted a text and a number")
    unknown = [token for token in tokens if token >= len(vocabulary)]
    if unknown:
        raise InputError(
            f"token {unknown[0]} is out of range: the vocabulary has {len(vocabulary)} tokens"
        )
    try:
        found = word_in(words_of([vocabulary[token] for token in tokens]), word, nth)
    except InputError as error:
        raise InputError(f"image {image}: {error}") from None
    return [found.start, found.end]


def rival_tokens(vocabulary: Sequence[str], value: Any, device: torch.device) -> Tensor:
    """Tokens that might have stood there, of a word or as they are."""
    if isinstance(value, str):
        texts = [piece.lstrip("Ġ▁") for piece in vocabulary]
        if value not in texts:
            near = nearest(value, texts) or ["a token's number"]
            raise InputError(f"the vocabulary has no word {value!r}; nearest: {', '.join(near)}")
        value = texts.index(value)
    tokens = whole(value, "against", "a word, a token or int64 [b]", device)
    if bool((tokens < 0).any()):
        raise InputError(f"against is {int(tokens.min())}; tokens are 0 and up")
    return tokens
