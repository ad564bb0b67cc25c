"""Every error and warning camport raises on purpose. This module imports nothing of camport,
so each room may use it.

Catch `CamportError` for all of them. The command line turns each into one line on stderr and exit
status 2.
"""

import errno
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any

LONGEST = 2000
"""Characters of an error's message."""


class CamportError(Exception):
    """Root of all errors raised on purpose; the message names the value at fault and the remedy.

    It is one line of at most `LONGEST` characters, whatever the value's own text is: an array's has
    many.
    """

    def __init__(self, *args: object) -> None:
        if args and isinstance(args[0], str):
            text = re.sub(r"\s*[\r\n]\s*", " ", args[0].strip())
            args = (text if len(text) <= LONGEST else text[: LONGEST - 3] + "...", *args[1:])
        super().__init__(*args)


class InputError(CamportError):
    """Images, targets or options that cannot be explained: wrong rank, channels, dtype,
    range or value."""


class ImageFileError(CamportError):
    """An image file that is missing, truncated, too large or not an image."""


class LayerError(CamportError):
    """A target layer that does not exist, did not run, or has no path to the score."""


class ModelError(CamportError):
    """A model that cannot be loaded or called, or whose outputs no adapter understands."""


class MethodError(CamportError):
    """A method that cannot explain this model, or whose declared traits are not what it did."""


class PluginError(CamportError):
    """A plugin that cannot be registered; names plugin, distribution, hook and remedy."""


class ExportError(CamportError):
    """A graph that could not be captured, lowered or written; no file is left behind."""


class ParityError(ExportError):
    """An exported graph that does not reproduce eager PyTorch; no file is left behind."""


class OutputError(CamportError):
    """An output file or directory that cannot be written."""


class OutOfMemoryError(CamportError, MemoryError):
    """Images, variants of them or a model that the memory does not hold;
    the message names what needs less."""


class MissingDependencyError(CamportError):
    """An optional package that a feature needs; the message says what to install."""


class UnknownNameError(CamportError):
    """A name that is not registered; the nearest ones are offered.

    Args:
        kind: what was looked up, e.g. "method".
        name: the name that was asked for.
        choices: the names that exist.
        also: what else it is not, said in brackets.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], also: str = "") -> None:
        name = name if isinstance(name, str) else repr(name)[:80]
        self.kind, self.name, self.choices = kind, name, sorted(choices)
        near = nearest(name, self.choices)
        if near:
            hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
        else:
            shown = ", ".join(self.choices[:12]) + (", ..." if len(self.choices) > 12 else "")
            hint = f"there is: {shown or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}" + (f" ({also})" if also else ""))


class CamportWarning(UserWarning):
    """Root of all warnings."""


class FlatMapWarning(CamportWarning):
    """A map is constant, so its heatmap is all zeros.
    The message says which of these is the reason:

    - dead gradient: the score does not depend on the layer for this image;
    - negative evidence only: every location speaks against the target and the method keeps positive
      evidence;
    - constant map: every location weighs the same.
    """


class ReusedLayerWarning(CamportWarning):
    """The target layer ran several times in one forward pass and the last run was explained; or
    such a run was chosen, and the score depends on others of the module as well.

    Choose another run with `name@0`, `name@1`, ... and this warning is gone.
    """


class ReluRuleWarning(CamportWarning):
    """A ReLU rule (guided backpropagation, deconvnet) met no ReLU,
    so the plain gradient was returned."""


class DoubtWarning(CamportWarning):
    """What was explained is not quite what was asked: a box that no detection matches well, or a
    method that cannot tell one object from another.
    """


class GuardWarning(CamportWarning):
    """A numerically undefined step was guarded;
    the message says which and on what share of channels."""


class MemoryWarning(CamportWarning):
    """A chunk of variants did not fit and a smaller one went on, whose sums may differ in their
    last digits; or less memory is free than a chunk may need. Give a smaller `chunk`.
    """


class PluginWarning(CamportWarning):
    """A third-party plugin failed to load and was left out; the others work."""


class ProviderWarning(CamportWarning):
    """ONNX Runtime could not use the accelerator it was built for and goes on with the CPU."""


_ALLOCATORS = re.compile(
    r"DefaultCPUAllocator|alloc_cpu|std::bad_alloc|bad allocation|can(?:'t|not) allocate memory"
    r"|(?:CUDA|HIP|XPU|MPS backend|error:) out of memory|failed to allocate memory|failed to map"
    r" segment",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised for, says that there was no memory;
    PyTorch's are RuntimeErrors."""
    for reason in reasons(error):
        if isinstance(reason, MemoryError) or type(reason).__name__ == "OutOfMemoryError":
            return True
        if isinstance(reason, OSError) and reason.errno == errno.ENOMEM:
            return True
        own = isinstance(reason, CamportError) or not isinstance(reason, Exception)
        if not own and _ALLOCATORS.search(str(reason)):
            return True
    return False


def reasons(error: BaseException | None, *, handled: bool = True) -> Iterator[BaseException]:
    """An error, the one it was raised for, and so on, each once.

    Args:
        error: None has no reasons.
        handled: also what was being handled as it was raised; else causes alone (`raise ... from`).
    """
    met: set[int] = set()
    while error is not None and id(error) not in met:  # `raise error from error` is its own cause
        met.add(id(error))
        yield error
        context = error.__context__ if handled and not error.__suppress_context__ else None
        error = error.__cause__ or context


@contextmanager
def guarded(
    what: str, kind: type[CamportError] = InputError, *, remedy: str = ""
) -> Iterator[None]:
    """One door: whatever is raised within becomes an error of `kind` that names `what`.

    Errors of camport's own pass as they are. A reader of damaged bytes raises whatever they lead
    to, so that a list of exceptions is never complete.

    Args:
        what: what is read and which, e.g. "labels names.txt".
        kind: the error raised.
        remedy: what to do, behind the reason.
    """
    try:
        yield
    except CamportError:
        raise
    except Exception as error:
        raise kind(f"{what}: {reason_of(error)}" + (f"; {remedy}" if remedy else "")) from error


def reason_of(error: BaseException) -> str:
    """An exception in one line of at most 200 characters, with its class where that tells more."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    shown = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


class _OfThisBlock(threading.local):
    """Matches what the thread that made it warns of while the block is open;
    stands where a pattern would.

    `warnings.warn` goes through the filters by their numbers. Were `match` a function of Python's,
    another thread could run in the middle of that and end its block, and the filter behind would be
    passed over. Functions of C's end first.
    """

    __slots__ = ("open",)  # which all threads share, unlike other attributes
    match: Callable[[str], object] = "".__gt__
    """As a pattern's: no text is below the empty one."""

    def begin(self) -> None:
        """All texts match on this thread: any object has an `id`, which is not 0."""
        self.open, self.match = True, id

    def end(self) -> None:
        """None does."""
        self.open, self.match = False, "".__gt__


@contextmanager
def silenced(category: type[Warning] = CamportWarning) -> Iterator[None]:
    """Warnings of a category, from this thread alone, are not shown.

    `warnings.catch_warnings` exchanges the filters of the whole process, and two threads in it put
    back each other's. Here one filter is added that no other thread's warning meets.
    """
    block = _OfThisBlock()
    block.begin()
    entry: Any = ("ignore", block, category, None, 0)
    warnings.filters.insert(0, entry)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        block.end()
        filters: list[Any] = warnings.filters  # type: ignore[assignment]
        # another thread's catch_warnings may have brought back what was ended while it was open
        for ended in [f for f in filters if isinstance(f[1], _OfThisBlock) and not f[1].open]:
            # another thread was faster; remove is one step, unlike a search and del
            with suppress(ValueError):
                filters.remove(ended)


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The choices closest to `name`, best first, ignoring case; empty where none is near."""
    by_lower = {c.lower(): c for c in choices}
    return [by_lower[c] for c in get_close_matches(name.lower(), by_lower, n=n, cutoff=0.6)]
