"""One function in a process of its own, so that what this one holds is neither timed nor
counted."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from camport.errors import CamportError

T = TypeVar("T")


def apart(function: Callable[..., T], *arguments: object) -> T:
    """What `function(*arguments)` returns in a spawned process.

    Args:
        function: at the top level of an importable module.
        arguments: picklable, as is what it returns.

    Raises:
        CamportError: what the function raised, in words, or the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, arguments), daemon=True)
    process.start()
    there.close()
    try:
        worked, found = here.recv()
    except EOFError:
        process.join()
        reason = "lack of memory, mostly" if process.exitcode == -9 else "see its output above"
        raise CamportError(
            f"the process that measured ended with status {process.exitcode}: {reason}"
        ) from None
    finally:
        here.close()
    process.join()
    if not worked:
        raise CamportError(found)
    answer: T = found
    return answer


def _answer(
    there: Connection, function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    try:
        found: tuple[bool, object] = (True, function(*arguments))
    except CamportError as error:
        found = (False, str(error))
    except Exception as error:
        found = (False, f"{type(error).__name__}: {error}")
    there.send(found)
