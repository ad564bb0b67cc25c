"""Models that are asked a question about an image: how they are called,
and what a question is made of."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camport.adapters.reading import a_row_each, parts_of, whole
from camport.adapters.text.beside_text import with_text
from camport.core.maps.token_grid import Grid, find_grid, patch_size
from camport.errors import InputError, LayerError, nearest

EMPTY = 'the question is empty; ask one, e.g. target={"question": "how many sevens?"}'


def question_of(
    given: Any, vocabulary: Sequence[str], length: int | None, pad: int, images: Tensor
) -> Int[Tensor, "b t"]:
    """A question as tokens for each image: a text, a list of b texts, or int64 [t] or [b,t];
    padded to `length`."""
    if isinstance(given, str):
        given = _tokens(given, vocabulary)
    elif isinstance(given, list | tuple) and given and all(isinstance(text, str) for text in given):
        rows = [_tokens(text, vocabulary) for text in given]
        longest = max(map(len, rows))
        given = [row + [pad] * (longest - len(row)) for row in rows]
    question = whole(given, "question", "a text, int64 [t] or [b,t]", images.device)
    if not question.numel() or not bool((question != pad).any()):
        raise InputError(EMPTY)
    question = a_row_each(question, 2, images.shape[0], "question", "int64 [t] or [b,t]")
    if bool((question < 0).any()):
        raise InputError(f"the question has the token {int(question.min())}; tokens are 0 and up")
    if length is not None:
        if question.shape[1] > length:
            raise InputError(
                f"the question has {question.shape[1]} tokens; at most {length} are read"
            )
        question = nn.functional.pad(question, (0, length - question.shape[1]), value=pad)
    return question


def _tokens(text: str, vocabulary: Sequence[str]) -> list[int]:
    words = text.lower().replace("?", " ").split()
    if not words:
        raise InputError(EMPTY)
    if not vocabulary:
        raise InputError(
            f"the question {text!r} cannot be looked up: give its tokens, or the adapter a"
            " vocabulary"
        )
    for word in words:
        if word not in vocabulary:
            near = nearest(word, vocabulary) or list(vocabulary[:8])
            raise InputError(
                f"the question has the word {word!r}, which is not known; nearest:"
                f" {', '.join(near)}"
            )
    return [list(vocabulary).index(word) for word in words]


def answers_to(model: nn.Module, images: Tensor, question: Tensor, pad: int) -> Any:
    """A classifier of answers, called by transformers' names or with images and question."""
    takes = inspect.signature(model.forward).parameters
    if "pixel_values" not in takes:
        return with_text(model, images, question)
    given: dict[str, Any] = {
        "input_ids": question,
        "attention_mask": (question != pad).to(torch.int64),
    }
    embeddings = getattr(getattr(model, "vilt", None), "embeddings", None)
    if embeddings is not None and "image_embeds" in takes:
        seen = still_embedding(embeddings, images)
        return model(
            image_embeds=seen, pixel_mask=torch.ones_like(seen[:, :, 0], dtype=torch.int64), **given
        )
    return model(pixel_values=images, **given)


def still_embedding(embeddings: Any, images: Tensor) -> Tensor:
    """ViLT's embedding of whole images, [b,1+n,c]:
    its own picks patches by the values of a mask and at random."""
    patches = embeddings.patch_embeddings(images)
    places = embeddings.position_embeddings
    side = int((places.shape[1] - 1) ** 0.5)
    spatial = places[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    if tuple(patches.shape[2:]) != (side, side):
        spatial = nn.functional.interpolate(
            spatial, size=patches.shape[2:], mode="bilinear", align_corners=True
        )
    tokens = (patches + spatial).flatten(2).transpose(1, 2)
    first = (embeddings.cls_token + places[:, :1]).expand(images.shape[0], -1, -1)
    return torch.cat([first, tokens], 1)


def spoken_answer(
    model: nn.Module, images: Tensor, question: Tensor, tokens: Tensor, pad: int
) -> Any:
    """What a model that writes its answer says after each of `tokens`: BLIP's parts, or
    `model(images, q, tokens)`."""
    parts: dict[str, Any] = {
        name: getattr(model, name, None)
        for name in ("vision_model", "text_encoder", "text_decoder")
    }
    if any(part is None for part in parts.values()):
        return model(images, question, tokens)
    seen = parts["vision_model"](pixel_values=images)[0]
    mask = (question != pad).to(torch.int64)
    asked = parts["text_encoder"](
        input_ids=question,
        attention_mask=mask,
        encoder_hidden_states=seen,
        encoder_attention_mask=torch.ones_like(seen[:, :, 0], dtype=torch.int64),
    )[0]
    return parts["text_decoder"](
        input_ids=tokens, encoder_hidden_states=asked, encoder_attention_mask=mask, use_cache=False
    )


def patches_behind_text(
    activation: Tensor, image_size: tuple[int, int], model: nn.Module, module: nn.Module, name: str
) -> Grid:
    """As `find_grid`; rows of tokens with a question before the patches lose the question."""
    try:
        return find_grid(activation, image_size, model, module, name)
    except LayerError:
        patch = patch_size(model)
        if activation.dim() != 3 or patch is None:
            raise
        h, w = image_size[0] // patch[0], image_size[1] // patch[1]
        prefix = activation.shape[1] - h * w
        if h * w < 1 or prefix < 0:
            raise
        return Grid("tokens", prefix, (h, w))


def named_answer(
    given: Any, answers: Sequence[str], what: str, images: Tensor
) -> Int[Tensor, " b"]:
    """An answer as its class for each image: a text among `answers` or a list of them,
    an int or int64 [b].

    -1 is the model's own.
    """
    if isinstance(given, str):
        given = _answer(given, answers, what)
    elif isinstance(given, list | tuple) and given and all(isinstance(text, str) for text in given):
        given = [_answer(text, answers, what) for text in given]
    classes = a_row_each(
        whole(given, what, "a text, a class or int64 [b]", images.device),
        1,
        images.shape[0],
        what,
        "int64 [b]",
    )
    if bool((classes < -1).any()):
        raise InputError(
            f"{what} {int(classes.min())} is out of range; answers are 0 and up, -1 is the"
            " model's own"
        )
    return classes


def _answer(text: str, answers: Sequence[str], what: str) -> int:
    if text not in answers:
        near = (
            nearest(text, answers) or list(answers[:8]) or ["a number, since no answers are named"]
        )
        raise InputError(f"there is no {what} {text!r}; nearest: {', '.join(near)}")
    return list(answers).index(text)


def parts_from(target: Any, known: Sequence[str]) -> dict[str, Any]:
    """A question, a pair of question and answer, or a dictionary, as a dictionary;
    InputError without a question."""
    if target is None:
        raise InputError(EMPTY)
    if isinstance(target, str | list | Tensor):
        return {"question": target}
    if isinstance(target, tuple) and len(target) == 2:
        return {"question": target[0], known[1]: target[1]}
    parts = parts_of(target, known, f'{{"question": "how many sevens?", "{known[1]}": ...}}')
    if "question" not in parts:
        raise InputError(EMPTY)
    return parts
