"""What a graph says about itself: its `camport.*` metadata, parsed."""

import json
from collections.abc import Mapping
from typing import Any

from camport.errors import CamportError, ModelError
from camport.runtime.preprocess import Preprocess

PREFIX = "camport."


def parse_metadata(custom: Mapping[str, str], where: str) -> dict[str, Any]:
    """The `camport.*` entries without their prefix.

    `preprocess` is a Preprocess and `labels` a tuple of str. Of the rest, JSON objects and lists are parsed
    and everything else stays text, so a version "1.0" remains text too.

    Args:
        custom: the file's metadata, key to text.
        where: the file's name, for messages.

    Raises:
        ModelError: preprocess or labels that cannot be understood.
    """
    found = {key.removeprefix(PREFIX): text for key, text in custom.items() if key.startswith(PREFIX)}
    parsed: dict[str, Any] = {key: _plain(text) for key, text in found.items()}
    if "preprocess" in found:
        try:
            parsed["preprocess"] = Preprocess.from_json(found["preprocess"])
        except CamportError as error:
            raise ModelError(f"{where}: metadata camport.preprocess: {error}") from None
    if "labels" in found:
        parsed["labels"] = _labels(parsed["labels"], where)
    return parsed


def _plain(text: str) -> Any:
    """JSON objects and lists parsed, any other text as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _labels(value: Any, where: str) -> tuple[str, ...]:
    """Names by class index, of a list or of an object {"0": name, ...} that counts from 0 without gaps."""
    if isinstance(value, dict) and sorted(value) == sorted(str(i) for i in range(len(value))):
        value = [value[str(i)] for i in range(len(value))]
    if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
        shown = repr(value)[:60]
        raise ModelError(f"{where}: metadata camport.labels must be a JSON list of names; it is {shown}")
    return tuple(value)
