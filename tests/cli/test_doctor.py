"""`camport doctor`, the list of commands, and `--version`."""

import json
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError

import pytest

from camport.cli import doctor
from camport.cli.commands import COMMANDS
from camport.core import registry
from camport.core.infos import PluginInfo
from tests.cli.conftest import fresh


def findings(done):
    return {found["what"]: found for lines in json.loads(done.out).values() for found in lines}


def test_what_is_there(camport):
    import onnxruntime
    import torch

    done = camport("doctor", "--json")
    assert (done.status, done.err) == (0, "")
    found = findings(done)
    assert found["torch"]["state"] == torch.__version__.partition("+")[0]
    assert found["torch"]["works"]
    assert found["ONNX Runtime"]["state"] == ", ".join(onnxruntime.get_available_providers())
    assert found["Python"]["state"].startswith(".".join(map(str, sys.version_info[:3])))
    lines = camport("doctor").out.splitlines()
    assert lines[0] == "system"
    assert any(line.split()[:3] == ["ok", "torch", found["torch"]["state"]] for line in lines)


def test_what_is_missing_and_what_brings_it(camport, monkeypatch):
    known = doctor.version

    def without(name):
        if name == "onnxscript":
            raise PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(doctor, "version", without)
    done = camport("doctor")
    (line,) = [line for line in done.out.splitlines() if "onnxscript" in line]
    assert line.split()[:3] == ["no", "onnxscript", "missing"]
    assert line.endswith('-> pip install "camport[torch]"')
    assert done.status == 0  # what is not installed is not broken


def test_two_builds_of_onnxruntime(camport, monkeypatch):
    known = doctor.version
    monkeypatch.setattr(
        doctor, "version", lambda name: "1.31.1" if name == "onnxruntime-gpu" else known(name)
    )
    done = camport("doctor", "--json")
    assert done.status == 1
    assert findings(done)["onnxruntime and onnxruntime-gpu"]["remedy"].startswith(
        "pip uninstall -y onnxruntime"
    )


def test_a_broken_plugin_is_status_1(camport, monkeypatch):
    broken = PluginInfo("lucid", "camport-lucid", "0.3", (), "broken: OSError: no such accelerator")
    monkeypatch.setattr(registry, "plugins", lambda: [broken])
    done = camport("doctor")
    assert done.status == 1
    assert "no  lucid (camport-lucid 0.3)" in done.out
    assert "broken: OSError: no such accelerator  -> pip install -U camport-lucid" in done.out


def test_where_pytorch_is_not_installed():
    code = (
        "import sys; sys.modules['torch'] = None; from camport.cli import main;"
        " sys.exit(main(['doctor']))"
    )
    done = fresh(code)
    assert "Traceback" not in done.err
    assert "ONNX Runtime" in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_lists_lines_are_the_commands_own(name):
    module, line = COMMANDS[name]
    function = getattr(import_module(f"camport.cli.{module}"), name)
    assert " ".join(function.__doc__.partition("\n\n")[0].split()) == line


def test_help_imports_nothing_large():
    code = (
        "import sys; from camport.cli import main; main(['--help'])\nprint(sorted({'numpy',"
        " 'torch', 'PIL', 'onnxruntime', 'rich.progress'} & set(sys.modules)), file=sys.stderr)"
    )
    done = fresh(code)
    assert done.err.strip() == "[]"
    for name in COMMANDS:
        assert name in done.out


def test_version(camport):
    from camport.version import __version__

    assert camport("--version").out == f"camport {__version__}\n"


@pytest.mark.parametrize("place", [0, 1, 4])
def test_quiet_leaves_errors_warnings_and_the_file(camport, refused, photo, tmp_path, place):
    command = ["explain", str(photo), "-m", "demo:gap-pool", "-o", "out.png"]
    command.insert(place, "--quiet")
    done = camport(*command)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert (tmp_path / "out.png").is_file()
    assert camport("--quiet", "methods", "gradcam").out.startswith("Grad-CAM")
    refused(
        "cannot be|does not exist|No such",
        "--quiet",
        "explain",
        "no.png",
        "-m",
        "demo:gap-pool",
        "-o",
        "out.png",
    )
    assert (
        "explaining" in camport("explain", str(photo), "-m", "demo:gap-pool", "-o", "out.png").out
    )


def test_a_wrong_name_has_the_nearest(refused):
    refused("No such command 'doktor'. Did you mean 'doctor'", "doktor")
