"""`examples/edge/explain.cpp`, built by the page's command: the map is Python's."""

import shlex
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from camport.cli import main
from camport.web.site import SCENES
from tests.edge.tools import lay
from tests.pages import ROOT, blocks

pytestmark = pytest.mark.everything
PAGE = "examples/edge/README.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with ONNX Runtime, the file, a scene that is not square, and the program,
    as the page makes them."""
    place = tmp_path_factory.mktemp("cpp")
    shutil.copytree(
        ROOT / "examples" / "edge",
        place / "examples" / "edge",
        ignore=shutil.ignore_patterns("node_modules"),
    )
    lay(place / "onnxruntime")
    export, build = blocks(PAGE, "sh")[1].splitlines()[:2]
    *command, out = shlex.split(export)[1:]
    assert main([*command, str(place / out), "--quiet"]) == 0
    strict = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*shlex.split(build), *strict], check=True, cwd=place)
    with Image.open(SCENES / "four-seven.png") as scene:
        scene.convert("RGB").resize((150, 110)).save(place / "scene.ppm")
    return place


def run(place, *arguments):
    return subprocess.run(
        [place / "explain", *arguments], capture_output=True, text=True, cwd=place
    )


@pytest.mark.parametrize("asked", [["7"], ["4"], ["-1"], []])
def test_the_map_is_pythons(place, asked):
    done = run(place, "digits.onnx", "scene.ppm", "map.npy", *asked)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(
        place / "digits.onnx", providers=["CPUExecutionProvider"]
    )
    target = int(asked[0]) if asked else -1
    with Image.open(place / "scene.ppm") as scene:
        feeds = {"images": np.asarray(scene)[None], "target": np.array([target])}
    outputs, score, heatmap = session.run(["outputs", "score", "heatmap"], feeds)
    top = int(outputs[0].argmax())
    found = np.load(place / "map.npy")
    assert found.dtype == np.float32
    assert np.ptp(heatmap[0]) > 0.5  # of a map that says something
    np.testing.assert_allclose(found, heatmap[0], rtol=0, atol=1e-5)
    names, told, wrote = done.stdout.splitlines()
    assert names.startswith('classes: ["zero", "one"')
    shown, _, printed = told.rpartition(" ")
    assert shown == f"scene.ppm: top class {top}, score of class {top if target < 0 else target}"
    assert float(printed) == pytest.approx(float(score[0]), rel=1e-4)
    assert wrote == "wrote map.npy"


def test_comments_in_the_picture(place):
    picture = (place / "scene.ppm").read_bytes().replace(b"P6\n", b"P6\n# made by a camera\n", 1)
    (place / "comment.ppm").write_bytes(picture)
    for name in ("scene", "comment"):
        assert run(place, "digits.onnx", f"{name}.ppm", f"{name}.npy", "7").returncode == 0
    np.testing.assert_array_equal(np.load(place / "comment.npy"), np.load(place / "scene.npy"))


@pytest.mark.parametrize(
    ("arguments", "status", "match"),
    [
        (["digits.onnx", "scene.ppm"], 2, "give FILE.onnx IMAGE.ppm OUT.npy"),
        (["none.onnx", "scene.ppm", "none.npy"], 1, "none.onnx"),
        (["digits.onnx", "digits.onnx", "none.npy"], 1, "digits.onnx is no binary PPM of 8 bits"),
        (["digits.onnx", "short.ppm", "none.npy"], 1, "short.ppm ends before its last pixel"),
        (
            ["digits.onnx", "scene.ppm", "none.npy", "10"],
            1,
            "class 10 is not from -1, the top one, to 9",
        ),
        (["digits.onnx", "scene.ppm", "none.npy", "seven"], 1, "class seven is not from -1"),
        (["digits.onnx", "scene.ppm", "no/none.npy"], 1, "no/none.npy could not be written"),
    ],
)
def test_what_cannot_be_asked(place, arguments, status, match):
    (place / "short.ppm").write_bytes((place / "scene.ppm").read_bytes()[:-1])
    done = run(place, *arguments)
    assert done.returncode == status
    assert match in done.stderr
    assert not (place / "none.npy").exists()
