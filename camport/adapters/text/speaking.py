"""Models that write text about an image: how they are called, and what they say first."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camport.adapters.text.beside_text import with_text
from camport.adapters.text.placeholders import reads_placeholders, speak_in_place
from camport.errors import InputError

START_NAMES = ("decoder_start_token_id", "bos_token_id")
END_NAMES = ("sep_token_id", "eos_token_id")
PARTS = ("decoder", "text_config", "text")


def speak(model: nn.Module, images: Tensor, tokens: Int[Tensor, "b t"]) -> Any:
    """Teacher-forced: what the model says after each of `tokens`.

    Models of transformers are called by the names of their arguments, all others with images and
    tokens.
    """
    takes = inspect.signature(model.forward).parameters
    if "pixel_values" not in takes:
        return with_text(model, images, tokens)
    if reads_placeholders(model):
        return speak_in_place(model, images, tokens)
    given: dict[str, Any] = {"pixel_values": images}
    given["decoder_input_ids" if "decoder_input_ids" in takes else "input_ids"] = tokens
    if "use_cache" in takes:
        given["use_cache"] = False
    return model(**given)


def token_of(model: nn.Module, own: str, names: Sequence[str]) -> int | None:
    """A special token that the model names: its attribute `own`,
    or one of `names` in its configuration."""
    value = getattr(model, own, None)
    config = getattr(model, "config", None)
    for name in names:
        for part in (config, *(getattr(config, p, None) for p in PARTS)):
            if value is None and isinstance(getattr(part, name, None), int):
                value = getattr(part, name)
    return value if isinstance(value, int) else None


def greedy(
    say: Callable[[Tensor], Tensor],
    like: Tensor,
    prompt: Sequence[int],
    end: int | None,
    length: int,
) -> Int[Tensor, "b t"]:
    """What the model writes itself, the likeliest token each time,
    filled up with `end` to `length`.

    `say(tokens)` gives the logits [b,t,v] of the next words, of as many images as `like` has rows.
    """
    tokens = torch.tensor(list(prompt), device=like.device).repeat(like.shape[0], 1)
    done = torch.zeros_like(tokens[:, 0], dtype=torch.bool)
    while tokens.shape[1] < length:
        if bool(done.all()):
            last = torch.zeros_like(tokens[:, 0])
        else:
            last = say(tokens)[:, -1].argmax(1)
        if end is not None:
            last = torch.where(done, torch.full_like(last, end), last)
            done = done | (last == end)
        tokens = torch.cat([tokens, last[:, None]], 1)
    return tokens


def prompt_of(model: nn.Module, given: Sequence[int] | None) -> tuple[int, ...]:
    """What a caption begins with: as given, or the model's start token;
    InputError where it names none."""
    if given is not None:
        return tuple(given)
    start = token_of(model, "start_token", START_NAMES)
    if start is None:
        raise InputError(
            f"{type(model).__name__} does not name the token that its captions begin with; give the"
            ' caption, {"tokens": ...}, or the beginning, e.g. CaptioningAdapter(prompt=(1,))'
        )
    return (start,)
