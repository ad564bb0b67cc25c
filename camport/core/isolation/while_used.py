"""Changes of the process that are there while somebody uses them, from however many threads."""

import threading
from collections.abc import Callable
from typing import Any


class WhileUsed:
    """A context that makes a change when the first enters, and takes it back when the last leaves.

    Args:
        make: makes the change and gives what takes it back.
    """

    def __init__(self, make: Callable[[], Callable[[], None]]) -> None:
        self._make, self._lock, self._users = make, threading.Lock(), 0
        self._undo: Callable[[], None] | None = None

    def __enter__(self) -> None:
        """Makes the change where nobody else has."""
        with self._lock:
            if not self._users:
                self._undo = self._make()
            self._users += 1

    def __exit__(self, *_: Any) -> None:
        """Takes it back where nobody else uses it."""
        with self._lock:
            self._users -= 1
            if not self._users and self._undo is not None:
                self._undo()
