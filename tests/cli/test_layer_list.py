"""`camport layers`: the layers that `camport explain` takes, for every task."""

import subprocess
import sys

import pytest

from camport import models
from tests.cli.conftest import CHECKOUT


def chosen(done):
    assert done.status == 0, done.err
    return [line.split()[0] for line in done.out.splitlines() if line.endswith("chosen")]


@pytest.mark.parametrize(
    ("name", "options", "layers"),
    [
        ("digits", [], ["layer3"]),
        ("captioner", [], ["encoder.layer3"]),
        ("answerer", [], ["encoder.layer3"]),
        ("segmenter", [], ["encoder.layer3"]),
        ("detector", [], ["up2", "out3", "out4"]),
    ],
)
def test_every_task(camport, name, options, layers):
    assert chosen(camport("layers", "-m", f"demo:{name}", *options)) == layers


@pytest.fixture
def nets(tmp_path):
    """Networks of the user's own, in the working directory."""
    (tmp_path / "layer_nets.py").write_text(
        "import torch\nfrom torch import nn\nclass Depth(nn.Module):\n    def __init__(self):\n    "
        "    super().__init__()\n        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1),"
        " nn.ReLU())\n        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 4, 2, 2),"
        " nn.ReLU(), nn.Conv2d(4, 1, 1))\n    def forward(self, x):\n        return"
        " self.decoder(self.encoder(x))\ndef depth():\n    torch.manual_seed(0)\n    return"
        " Depth()\ndef flat():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))\n"
    )
    yield tmp_path
    sys.modules.pop("layer_nets", None)


def test_the_choice_of_explain_and_of_another_adapter(camport, photo, nets):
    spec = ["-m", "layer_nets:depth", "--adapter", "function"]
    assert chosen(camport("layers", *spec, "--size", "32x32")) == ["encoder"]
    done = camport("explain", photo, *spec, "--preprocess", '{"size": [32, 32]}', "-o", "out.npz")
    assert "layer encoder" in done.out


def test_where_nothing_can_be_chosen_the_list_is_there_and_says_why(camport, nets):
    done = camport("layers", "-m", "layer_nets:flat", "--size", "8x8")
    assert (done.status, chosen(done)) == (0, [])
    assert "1x192" in done.out
    assert "no target layer can be chosen" in done.err


def test_a_checkpoint_that_holds_objects_is_loaded_where_it_is_trusted(camport, monkeypatch):
    load, trusted = models.load_model, []

    def loading(spec, weights=None, *, trust_checkpoint=False, **options):
        trusted.append(trust_checkpoint)
        return load("demo:digits", weights)

    monkeypatch.setattr(models, "load_model", loading)
    for options in ([], ["--trust-checkpoint"]):
        assert chosen(camport("layers", "-m", "ultralytics:some.pt", *options)) == ["layer3"]
    assert trusted == [False, True]


def test_without_pytorch_it_is_one_line():
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from camport.cli import main\n"
        "sys.exit(main(['layers', '-m', 'demo:digits']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("camport: error: ")
    assert done.stderr.count("\n") == 1
    assert 'pip install "camport[torch]"' in done.stderr
