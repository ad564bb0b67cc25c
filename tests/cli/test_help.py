"""Help says all of what it was written to say,
and errors about SPECs name the SPEC that was meant."""

import re

import pytest
import typer

from camport.cli.app import app
from camport.models.spec import specs

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_bracket_is_swallowed(camport, name) -> None:
    done = camport(name, "--help")
    shown = re.sub(r"[\s│]", "", done.out)
    for parameter in COMMANDS[name].params:
        written = re.sub(r"\s", "", parameter.help or "").replace("\\[", "[")
        assert written in shown, parameter.name


def test_every_form_of_spec_is_named(camport) -> None:
    shown = re.sub(r"[\s│]", "", camport("export", "--help").out)
    assert [spec for spec in specs() if spec not in shown] == []
    assert "uint8(b,h,w,3)." in shown


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (
            "yolov8:best8.pt",
            r"unknown model family 'yolov8'; YOLOv8 to 12 are loaded by ultralytics:FILE",
        ),
        (
            "yolo11:best.pt",
            r"'yolo11'; YOLOv8 to 12 are loaded by ultralytics:FILE, YOLOv5 by yolov5:FILE",
        ),
        ("best8.pt", r"'best8\.pt' is no SPEC; a YOLO checkpoint: ultralytics:best8\.pt"),
    ],
)
def test_yolo_names(refused, spec, match) -> None:
    refused(match, "export", "-m", spec, "-o", "x.onnx")
