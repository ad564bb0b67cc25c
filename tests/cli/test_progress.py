"""What a person at a terminal sees while a method runs the model many times."""

import io
import re

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
    done = camport("explain", photo, "-m", "demo:gap-pool", "--method", "scorecam", "-o", tmp_path / "out.png")
    assert done.status == 0, done
    assert updates
    assert updates[-1][0] == updates[-1][1]
    total = updates[-1][1]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "explaining 1 image by scorecam" in shown
    assert f"{total}/{total}" in shown


def test_elsewhere_one_line_says_what_is_done(camport, photo, tmp_path):
    done = camport("explain", photo, "-m", "demo:gap-pool", "--method", "scorecam", "-o", tmp_path / "out.png")
    assert done.status == 0, done
    assert done.out.startswith("explaining 1 image by scorecam with demo:gap-pool ...\n")
    assert not done.err
