"""No command writes over what it reads, whatever links lead there."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from camport.files import check_apart


def keep_inputs(
    outputs: Iterable[Path], paths: Sequence[Path | str | None] = (), *, model: str | None = None
) -> None:
    """Refuses outputs that are read, before any work.

    Args:
        outputs: the files that shall be written.
        paths: the files that are read; NAME=FILE and None are taken too.
        model: SPEC, as FILE.onnx or LOADER:FILE.

    Raises:
        OutputError: naming the file.
    """
    written, read = list(outputs), [str(path) for path in paths if path is not None]
    read += [text.partition("=")[2] for text in read if "=" in text]
    if model is not None:
        read += [model, model.partition(":")[2]]
        read += [str(data) for data in _external(model, written)]
    check_apart(written, [text for text in read if text])


def _external(model: str, outputs: Sequence[Path]) -> list[Path]:
    """The files of an ONNX model's weights, as far as they would be written:
    the model is not read otherwise."""
    beside = [
        Path(model).parent / output.name for output in outputs if output.name.endswith(".data")
    ]
    beside = [data for data in beside if data.exists()]
    if not beside or not model.endswith(".onnx"):
        return []
    from camport.export.atomic_file import refers

    return [data for data in beside if refers(Path(model), data)]
