"""Signals that end the command: a status of 128 and the signal's number, one line, and no draft."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from camport.view import save

SIGNALS = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
if hasattr(signal, "SIGHUP"):
    SIGNALS.append((signal.SIGHUP, 129, "terminated"))


@pytest.fixture
def heard():
    """Signals as in a terminal: a process that a shell starts in the background ignores SIGINT."""
    own = {number: signal.getsignal(number) for number, _, _ in SIGNALS}
    for number in own:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    yield
    for number, handler in own.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_a_signal_while_the_file_is_written(
    camport, photo: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, said: str
) -> None:
    before = {p.name: p.read_bytes() for p in photo.parent.iterdir()}
    handlers = [signal.getsignal(n) for n, _, _ in SIGNALS]

    def write(stream, array, **options) -> None:
        stream.write(b"half")
        assert any(p.name.startswith(".camport-") for p in photo.parent.iterdir())
        os.kill(os.getpid(), number)
        stream.write(b"not reached")

    monkeypatch.setattr(save.np, "save", write)
    done = camport("explain", photo, "-m", "demo:gap-pool", "-o", "out.npy")
    assert done.status == status
    assert done.err.splitlines()[-1] == f"camport: {said}"
    assert {p.name: p.read_bytes() for p in photo.parent.iterdir()} == before
    assert [signal.getsignal(n) for n, _, _ in SIGNALS] == handlers


def test_a_signal_that_is_ignored_stays_so(
    camport, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = np.save
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def write(stream, array, **options) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        honest(stream, array, **options)

    monkeypatch.setattr(save.np, "save", write)
    try:
        done = camport("explain", photo, "-m", "demo:gap-pool", "-o", "out.npy")
    finally:
        signal.signal(signal.SIGTERM, old)
    assert done.status == 0
    assert np.load(photo.with_name("out.npy")).shape[0] == 1
