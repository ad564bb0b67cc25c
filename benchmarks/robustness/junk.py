"""Damaged bytes, and values of every kind that nobody asked for."""

from typing import Any

import numpy as np
import torch

TEXTS = (
    "",
    " ",
    "a",
    "seven",
    "-1",
    "1e999",
    "nan",
    "\x1b[2J",
    "é\u202e",
    "\udcff",
    "x" * 5000,
    "../..",
    "{",
    "%s",
    "\0",
)
NUMBERS = (
    0,
    1,
    -1,
    2,
    9,
    10,
    2**31,
    -(2**63),
    2**64,
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
)
TYPES = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "uint8",
    "bool",
    "complex64",
    "float8_e5m2",
)


def pick(rng: np.random.Generator, values: Any) -> Any:
    """One of several."""
    return values[int(rng.integers(len(values)))]


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes flipped, cut off, doubled, filled with one value, or put in."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not found:
            break
        at, length = int(rng.integers(len(found))), int(2 ** rng.uniform(0, 8))
        way = int(rng.integers(7))
        if way <= 2:
            found[at] ^= 1 << int(rng.integers(8))
        elif way == 3:
            del found[at:]
        elif way == 4:
            found[at : at + length] = bytes([int(pick(rng, (0, 255, 127, 10)))]) * length
        elif way == 5:
            found[at:at] = rng.bytes(length)
        else:
            found[at:at] = found[at : at + length]
    return bytes(found)


def tensor(rng: np.random.Generator) -> Any:
    """A tensor of any type and shape."""
    shape = tuple(int(pick(rng, (0, 1, 2, 3, 4, 5, 16))) for _ in range(int(rng.integers(0, 6))))
    value = torch.from_numpy(
        np.asarray(rng.normal(size=shape) * float(pick(rng, (1, 100, 1e30))))
    ).float()
    if value.numel() and rng.random() < 0.2:
        value.view(-1)[0] = pick(rng, (float("nan"), float("inf"), -1e38))
    value = value.to(getattr(torch, pick(rng, TYPES)))
    way = rng.random()
    if way < 0.05:
        return value.to("meta")
    if way < 0.1 and value.dtype == torch.float32:
        return value.to_sparse()
    return (
        np.asarray(value.numpy())
        if way < 0.3 and value.dtype not in (torch.bfloat16, torch.float8_e5m2)
        else value
    )


def anything(rng: np.random.Generator, depth: int = 2) -> Any:
    """A value of any kind, nested."""
    way = int(rng.integers(12 if depth else 8))
    if way <= 1:
        return pick(rng, NUMBERS)
    if way == 2:
        return pick(rng, TEXTS)
    if way == 3:
        return pick(
            rng,
            (
                None,
                True,
                False,
                b"x",
                object(),
                object,
                int,
                print,
                3 + 4j,
                {1, 2},
                range(3),
                slice(2),
            ),
        )
    if way <= 6:
        return tensor(rng)
    if way == 7:
        return np.array(pick(rng, ([1, 2], ["a"], [None], [[1.5, 2], [3, 4]], [])))
    some = [anything(rng, depth - 1) for _ in range(int(rng.integers(0, 4)))]
    if way <= 9:
        return some if way == 8 else tuple(some)
    return {
        pick(rng, ("boxes", "class", "tokens", "span", "question", "answer", "mask", 3, "a")): v
        for v in some
    }


def jsonlike(rng: np.random.Generator, depth: int = 3) -> Any:
    """What JSON can say."""
    way = int(rng.integers(6 if depth else 4))
    if way <= 1:
        return pick(rng, NUMBERS)
    if way == 2:
        return pick(rng, TEXTS)
    if way == 3:
        return pick(rng, (None, True, False))
    some = [jsonlike(rng, depth - 1) for _ in range(int(rng.integers(0, 5)))]
    return some if way == 4 else {str(pick(rng, TEXTS)) + str(i): v for i, v in enumerate(some)}
