"""The example plugin, installed as a distribution of its own and used in fresh processes."""

import os
import runpy
import shutil
import subprocess
import sys
import tomllib
import warnings
from importlib import metadata
from pathlib import Path

import pytest

from camport.core.registry import Registry
from camport.errors import PluginWarning

EXAMPLE = Path(__file__).parents[2] / "examples" / "camport-maxcam"
CAMPORT = Path(__file__).parents[2]


def install(project: Path, place: Path) -> None:
    """What `pip install --no-deps --target` writes: the module and its dist-info.
    It needs no build tool."""
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    (module,) = project.glob("*.py")
    shutil.copy(module, place)
    info = place / f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: {told['version']}\n"
    )
    points = "".join(
        f"{name} = {target}\n" for name, target in told["entry-points"]["camport"].items()
    )
    (info / "entry_points.txt").write_text(f"[camport]\n{points}")


def write_plugin(place: Path, name: str, code: str) -> None:
    (place / f"{name}.py").write_text(code)
    info = place / f"{name}-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(f"[camport]\n{name} = {name}\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory with the example plugin and one that fails to import."""
    place = tmp_path_factory.mktemp("site")
    install(EXAMPLE, place)
    write_plugin(place, "camport_broken", "raise OSError('no such accelerator')\n")
    return place


def fresh(site, code, **environment):
    path = os.pathsep.join([str(site), str(CAMPORT)])
    return subprocess.run(
        [sys.executable, "-c", f"import sys; from camport.cli import main; {code}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "", **environment},
    )


def first_words(text):
    return {line.split()[0]: line for line in text.splitlines()}


def test_the_listings_tell_of_both(site):
    shown = fresh(site, "sys.exit(main(['methods']) or print('---') or main(['plugins']))")
    assert shown.returncode == 0
    methods, plugins = map(first_words, shown.stdout.split("---\n"))
    assert "gradcam" in methods
    assert "Max-CAM" in methods["maxcam"]
    assert methods["maxcam"].rstrip().endswith("camport-maxcam")
    assert "camport-maxcam 1.0.0" in plugins["maxcam"]
    assert "loaded" in plugins["maxcam"]
    assert "camport_broken 0.3" in plugins["camport_broken"]
    assert "broken: OSError: no such accelerator" in plugins["camport_broken"]
    (warning,) = shown.stderr.splitlines()
    assert warning.startswith(
        "camport: PluginWarning: plugin 'camport_broken' of camport_broken 0.3 was left out"
    )
    assert "CAMPORT_DISABLE_PLUGINS=camport_broken" in warning


@pytest.mark.everything
def test_the_kill_switch_of_the_environment(site):
    shown = fresh(site, "sys.exit(main(['methods']))", CAMPORT_DISABLE_PLUGINS="1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "gradcam" in first_words(shown.stdout)
    assert "maxcam" not in first_words(shown.stdout)


def test_it_explains_by_name(site, tmp_path):
    from PIL import Image

    Image.effect_noise((80, 60), 80).convert("RGB").save(tmp_path / "x.png")
    out = tmp_path / "out.npz"
    arguments = [
        "explain",
        str(tmp_path / "x.png"),
        "-m",
        "demo:digits",
        "--method",
        "maxcam",
        "-o",
        str(out),
    ]
    done = fresh(site, f"sys.exit(main({arguments}))", CAMPORT_DISABLE_PLUGINS="camport_broken")
    assert done.returncode == 0, done.stderr
    assert out.is_file()


@pytest.mark.parametrize(
    ("switch", "maxcam", "broken"),
    [
        ("1", "disabled", "disabled"),
        ("maxcam", "disabled", "broken"),
        ("camport_broken", "loaded", "disabled"),
    ],
)
def test_the_kill_switch(site, monkeypatch, switch, maxcam, broken):
    monkeypatch.syspath_prepend(site)
    points = [p for d in metadata.distributions(path=[str(site)]) for p in d.entry_points]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        registry = Registry(points, switch)
    states = {p.name: p.state for p in registry.plugins}
    assert states["maxcam"].startswith(maxcam)
    assert states["camport_broken"].startswith(broken)
    assert ("maxcam" in registry.classes["explainer"]) is (maxcam == "loaded")
    assert "gradcam" in registry.classes["explainer"]


def test_its_own_tests_pass(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    found = runpy.run_path(str(EXAMPLE / "tests" / "test_maxcam.py"))
    for test in [value for name, value in found.items() if name.startswith("test_")]:
        test()


def test_pip_would_install_the_same():
    """The entry point names the module that the build puts into the wheel."""
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (module,) = told["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert told["project"]["entry-points"]["camport"] == {"maxcam": Path(module).stem}
    assert (EXAMPLE / module).is_file()
