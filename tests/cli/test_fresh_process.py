"""What a fresh process imports, and what it answers: the edge never sees PyTorch."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import CHECKOUT, fresh

HEAVY = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "matplotlib",
    "timm",
    "transformers",
    "sklearn",
    "skimage",
)
REPORT = (
    f"import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]),"
    " file=sys.stderr)"
)


@pytest.mark.parametrize(
    "module", ["camport", "camport.runtime", "camport.cli", "camport.view", "camport.errors"]
)
def test_importing_is_light(module):
    done = fresh(f"import {module}; {REPORT}")
    assert (done.status, json.loads(done.err)) == (0, [])


def test_run_never_imports_pytorch(exported, photo, tmp_path):
    code = (
        f"import sys; from camport.cli import main; status = main(sys.argv[1:]); {REPORT};"
        " sys.exit(status)"
    )
    done = fresh(code, "run", exported, photo, "--target", "two", "-o", tmp_path / "edge.png")
    assert done.status == 0, done.err
    assert json.loads(done.err.splitlines()[-1]) == []
    assert "two (2), score" in done.out
    with Image.open(tmp_path / "edge.png") as picture:
        assert picture.width > 96


def test_run_where_pytorch_is_not_installed(exported, photo, tmp_path):
    hidden = (
        "import sys; sys.modules.update(torch=None, torchvision=None, onnx=None, matplotlib=None,"
        " jaxtyping=None);"
    )
    code = f"{hidden} from camport.cli import main; sys.exit(main(sys.argv[1:]))"
    done = fresh(code, "run", exported, photo, "-o", tmp_path / "edge.npz")
    assert (done.status, done.err) == (0, "")
    assert np.load(tmp_path / "edge.npz")["heatmap"].shape == (1, 64, 64)
    refused = fresh(code, "explain", photo, "-m", "demo:gap-pool", "-o", tmp_path / "no.png")
    assert refused.status == 2
    (line,) = refused.err.splitlines()
    assert re.match(
        r"camport: error: (torch|jaxtyping) is needed.*pip install \"camport\[torch\]\"", line
    )
    assert not (tmp_path / "no.png").exists()


def test_the_command_as_a_module(photo, tmp_path):
    code = (
        "import runpy, sys; sys.argv[0] = 'camport'; runpy.run_module('camport',"
        " run_name='__main__')"
    )
    done = fresh(code, "explain", photo, "-m", "demo:gap-poll", "-o", tmp_path / "x.png")
    assert done.status == 2
    assert (
        done.err == "camport: error: unknown demo network 'gap-poll'; did you mean 'gap-pool' or"
        " 'gap-full'?\n"
    )
    assert done.out.startswith("explaining 1 image")


def test_first_onnx_example(exported, photo, tmp_path):
    """The example needs onnxruntime, numpy and Pillow alone, and is ten lines of work."""
    script = CHECKOUT / "examples" / "first_onnx.py"
    assert not re.search(r"import (camport|torch)|from (camport|torch)", script.read_text())
    code = (
        "import runpy, sys; sys.modules.update(camport=None, torch=None);"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = fresh(code, script, exported, photo, tmp_path / "heat.png")
    assert (done.status, done.err) == (0, "")
    from camport.runtime import load, open_image

    explainer = load(exported, ["cpu"])
    pixels, _ = explainer.preprocess.apply(open_image(photo))
    expected = explainer(pixels[None])
    label = explainer.labels[int(expected.outputs[0].argmax())]
    said, score = re.fullmatch(r"(\w+), score (-?\d+\.\d+)\n", done.out).groups()
    assert said == label
    assert abs(float(score) - float(expected.score[0])) < 0.02
    with Image.open(tmp_path / "heat.png") as picture:
        found = np.asarray(picture) / 255
    assert found.shape == (64, 64)
    assert np.abs(found - expected.heatmap[0]).max() < 0.02


def test_the_python_of_these_tests_is_the_one_asked_for():
    assert fresh("import sys; print(sys.version)").out.strip() == sys.version
