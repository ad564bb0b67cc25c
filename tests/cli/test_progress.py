"""What a person at a terminal sees while a method runs the model many times."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from camport.cli import working


def test_a_terminal_shows_how_far_the_masks_are(camport, photo, tmp_path, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, force_interactive=True)
    monkeypatch.setattr(working, "Console", lambda **kwargs: terminal)
    updates, update = [], working.Progress.update

    def watched(self, task, **told):
        updates.append((told["completed"], told["total"]))
        update(self, task, **told)
        self.refresh()

    monkeypatch.setattr(working.Progress, "update", watched)
    done = camport(
        "explain", photo, "-m", "demo:gap-pool", "--method", "scorecam", "-o", tmp_path / "out.png"
    )
    assert done.status == 0, done
    assert updates
    assert updates[-1][0] == updates[-1][1]
    total = updates[-1][1]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "explaining 1 image by scorecam" in shown
    assert f"{total}/{total}" in shown


def test_elsewhere_one_line_says_what_is_done(camport, photo, tmp_path):
    done = camport(
        "explain", photo, "-m", "demo:gap-pool", "--method", "scorecam", "-o", tmp_path / "out.png"
    )
    assert done.status == 0, done
    assert done.out.startswith("explaining 1 image by scorecam with demo:gap-pool ...\n")
    assert not done.err


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (
            0,
            [
                "1 of 4 steps, 0:03:00 left",
                "2 of 4 steps, 0:02:00 left",
                "3 of 4 steps, 0:01:00 left",
                "4 of 4 steps",
            ],
        ),
        (2, ["2 of 4 steps", "3 of 4 steps, 0:01:00 left", "4 of 4 steps"]),
    ],
    ids=["from the start", "going on from a record"],
)
def test_elsewhere_each_tenth_says_how_long_it_takes(first, lines, monkeypatch, capsys):
    """A step takes a minute here; steps that a record holds took no time and are no pace."""
    clock = iter(range(0, 600, 60))
    monkeypatch.setattr(working, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with working.counting("measuring") as progress:
        for done in range(first, 5):
            progress(done, 4, "gradcam")
    assert capsys.readouterr().out.splitlines() == ["measuring ...", *lines]
