"""What a person at a terminal sees while a method runs the model many times."""

import io
import json
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


@pytest.mark.parametrize("flag", [None, "--json", "--quiet"])
def test_results_go_to_the_file_that_stdout_is(camport, photo, tmp_path, monkeypatch, flag):
    """And errors and warnings to stderr, while a bar is drawn on the terminal."""
    screen = io.StringIO()

    def terminal(**told):
        return Console(file=screen, force_terminal=True, width=120, quiet=told["quiet"])

    monkeypatch.setattr(working, "Console", terminal)
    command = ["explain", photo, "-m", "demo:gap-pool", "-o", tmp_path / "out.png"]
    done = camport(
        *(["--quiet"] if flag == "--quiet" else []), *command, *([flag] * (flag == "--json"))
    )
    assert done.status == 0, done
    if flag == "--json":
        (line,) = done.out.splitlines()
        assert json.loads(line)["image"] == str(photo)
    else:
        assert done.out.startswith(f"{photo}: ") == (flag is None)
    assert ("explaining 1 image" in screen.getvalue()) == (flag is None)
    assert str(photo) not in screen.getvalue()


def test_a_terminal_shows_the_stage_of_an_export(camport, tmp_path, monkeypatch):
    """In the order in which `--explain` lists them, which is that of their ends."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, force_interactive=True)
    monkeypatch.setattr(working, "Console", lambda **kwargs: terminal)
    told, update = [], working.Progress.update

    def watched(self, task, *, description):
        told.append(description)
        update(self, task, description=description)
        self.refresh()

    monkeypatch.setattr(working.Progress, "update", watched)
    done = camport("export", "-m", "demo:gap-pool", "-o", tmp_path / "x.pt2", "--explain")
    assert done.status == 0, done
    start = "exporting demo:gap-pool: "
    listed = re.findall(r"^ *\d+\.\d\d s  ([^:\n]+?)(?=:|$)", done.out, re.MULTILINE)
    assert sorted(told) == sorted(f"{start}{name}" for name in listed)
    assert told[:2] == [f"{start}preflight", f"{start}capture"]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert f"{start}proof of the file" in shown


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
