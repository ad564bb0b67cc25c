"""What a graph says about itself: its `camport.*` metadata, parsed."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from camport.errors import CamportError, ModelError, guarded
from camport.runtime.preprocess import Preprocess
from camport.targets import read

PREFIX = "camport."
LONGEST = 200
"""Characters of a text: names are drawn and printed, and a foreign file may hold any."""

_TEXTS, _NUMBER = "a list of texts", "a number"
_ANSWERS = "a list of texts or an object"  # the answers by class, or how a written one is scored
_OPTIONS = {
    "vocabulary": _TEXTS,
    "answers": _ANSWERS,
    "prompt": "a list of whole numbers",
    "end": "a whole number",
    "pad": "a whole number",
    "threshold": _NUMBER,
    "iou": _NUMBER,
    "most": "a whole number",
    "form": "an object",
}
"""Options of an adapter that are read at the edge, and what each has to be; null is left out."""

_KINDS: dict[str, Callable[[Any], bool]] = {
    _TEXTS: lambda v: isinstance(v, list) and all(isinstance(t, str) for t in v),
    "a list of whole numbers": lambda v: isinstance(v, list) and all(map(_whole, v)),
    "a whole number": lambda v: _whole(v),
    _NUMBER: lambda v: _whole(v) or isinstance(v, float),
    _ANSWERS: lambda v: isinstance(v, dict) or _KINDS[_TEXTS](v),
    "an object": lambda v: isinstance(v, dict),
    "a text": lambda v: isinstance(v, str),
}


def parse_metadata(custom: Mapping[str, str], where: str) -> dict[str, Any]:
    """The `camport.*` entries without their prefix.

    `preprocess` is a Preprocess, `labels` a tuple of str, and `target` the fields of what may be
    asked. Of the rest, JSON objects and lists are parsed and everything else stays text, so a
    version "1.0" remains text too.

    Args:
        custom: the file's metadata, key to text.
        where: the file's name, for messages.

    Raises:
        ModelError: preprocess or labels that cannot be understood.
    """
    found = {
        key.removeprefix(PREFIX): text for key, text in custom.items() if key.startswith(PREFIX)
    }
    with guarded(f"{where}: its metadata cannot be read", ModelError, remedy="export it again"):
        parsed: dict[str, Any] = {key: _short(_plain(text)) for key, text in found.items()}
    for key in ("method", "adapter"):
        if isinstance(parsed.get(key), dict):
            _check_entry(key, parsed[key], where)
    if "preprocess" in found:
        try:
            parsed["preprocess"] = Preprocess.from_json(found["preprocess"])
        except CamportError as error:
            raise ModelError(f"{where}: metadata camport.preprocess: {error}") from None
    if "target" in found:
        try:
            parsed["target"] = read(parsed["target"])
        except CamportError as error:
            raise ModelError(
                f"{where}: metadata camport.target: {error}; export it again"
            ) from None
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


def _short(value: Any) -> Any:
    """The same with every text in it cut at `LONGEST` characters."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[: LONGEST - 3] + "..."
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, dict):
        return {_short(key): _short(item) for key, item in value.items()}
    return value


def _check_entry(key: str, entry: dict[str, Any], where: str) -> None:
    """ModelError where {"name", "options"} is not of that form."""
    options = entry.get("options")
    wanted = {"name": (entry.get("name"), "a text"), "options": (options, "an object")}
    wanted["family"] = (entry.get("family"), "a text")
    if key == "adapter" and isinstance(options, dict):
        wanted |= {name: (options.get(name), kind) for name, kind in _OPTIONS.items()}
    for name, (value, kind) in wanted.items():
        if value is not None and not _KINDS[kind](value):
            shown = repr(value)[:60]
            raise ModelError(
                f"{where}: metadata camport.{key}: {name} must be {kind}; it is {shown}: export it"
                " again"
            )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _labels(value: Any, where: str) -> tuple[str, ...]:
    """Names by class index, of a list or of an object {"0": name,
    ...} that counts from 0 without gaps."""
    if isinstance(value, dict) and sorted(value) == sorted(str(i) for i in range(len(value))):
        value = [value[str(i)] for i in range(len(value))]
    if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
        shown = repr(value)[:60]
        raise ModelError(
            f"{where}: metadata camport.labels must be a JSON list of names; it is {shown}"
        )
    return tuple(value)
