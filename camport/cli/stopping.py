"""Signals that end the command: it stops as at Ctrl+C, so that no draft is left behind."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGTERM", "SIGHUP")
"""What `timeout`, `docker stop` and systemd send, and a terminal that is closed."""


class Stop:
    """Which signal came; 0 while none did."""

    signal = 0

    @property
    def status(self) -> int:
        """The exit status: 128 and the signal's number, 130 at Ctrl+C."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stopping() -> Iterator[Stop]:
    """While open, those signals raise KeyboardInterrupt in the main thread;
    one that is ignored stays so."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield stop
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        raise KeyboardInterrupt

    before = {}
    for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
        if signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, interrupt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
