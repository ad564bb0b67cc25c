"""`examples/edge/explain.mjs` in Node: the map is Python's."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from camport.runtime import load, open_image
from camport.view import overlay
from camport.web import PAGE
from camport.web.site import SCENES
from tests.web.test_browser import SAME, found_by

pytestmark = pytest.mark.everything
EXAMPLE = PAGE.parents[2] / "examples" / "edge"
SCENE = SCENES / "four-seven.png"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """The example as it lies beside the page, with what npm installs for it;
    runs it with these arguments."""
    place = tmp_path_factory.mktemp("node")
    program = place / "examples" / "edge"
    shutil.copytree(PAGE, place / "camport" / "web" / "page")
    shutil.copytree(EXAMPLE, program, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(
        ["npm", "install", "--silent", "--ignore-scripts", "--prefix", program],
        check=True,
        cwd=place,
    )

    def run(*arguments):
        command = ["node", program / "explain.mjs", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=place)

    return run


def test_a_classs_map(node, exported, tmp_path):
    done = node(exported["digits"], SCENE, tmp_path / "map.npy", "seven")
    assert done.returncode == 0, done.stderr
    explainer = load(exported["digits"], ["cpu"])
    pixels, placement = explainer.preprocess.apply(open_image(SCENE))
    result = explainer(pixels[None], target="seven")
    assert (
        np.abs(np.load(tmp_path / "map.npy") - placement.to_image(result.heatmap[0])).max() < SAME
    )
    assert done.stdout.splitlines()[0] == f"{SCENE}: seven, score {result.score[0]:.2f}"


def test_a_boxs_picture(node, exported, tmp_path):
    done = node(exported["detector"], SCENE, tmp_path / "shown.png")
    assert done.returncode == 0, done.stderr
    maps = found_by(load(exported["detector"], ["cpu"]), open_image(SCENE))[-1]
    expected = np.array(overlay(open_image(SCENE), maps[0])).astype(int)
    with Image.open(tmp_path / "shown.png") as picture:
        assert np.abs(np.array(picture.convert("RGB")).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("file", "wanted", "match"),
    [
        ("boxes", (), "exported with --one-image --nms"),
        ("digits", ("eleven",), "the file has no class eleven"),
    ],
)
def test_what_cannot_be_asked(node, exported, tmp_path, file, wanted, match):
    done = node(exported[file], SCENE, tmp_path / "none.png", *wanted)
    assert done.returncode != 0
    assert match in done.stderr
    assert not (tmp_path / "none.png").exists()
