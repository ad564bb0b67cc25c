"""What the methods' docstrings promise: it is there, it is true, and docs/methods.md says it."""

import importlib.util
import re
import warnings
from pathlib import Path

import pytest

import camport
from camport.core import registry
from camport.core.describe import describe
from camport.errors import CamportWarning
from camport.plugins import DRISE, RISE
from tests.counting import Counted
from tests.nets import GapNet, Net, TokenNet, images, seeded

ROOT = Path(__file__).parents[1]
BUILT_IN = [name for name, info in camport.methods().items() if info.distribution == "camport"]
NETS = {"cam": GapNet, "attention_rollout": TokenNet, "legrad": TokenNet}
WITH = {"rise": RISE(samples=60), "drise": DRISE(samples=60)}
NUMBERS = {
    "drise": {"N": 60},
    "groupcam": {"G": 8},  # there are 8 channels
    "integrated_gradients": {"steps": 50},
    "iscam": {"N": 10},
    "occlusion": {"patches": 13 * 9},  # of 2 x 3 pixels, a stride of 1 x 2, and the image 14 x 18
    "rise": {"N": 60},
    "smoothgrad": {"n": 50},
    "smoothgradcam++": {"n": 25},
    "sscam": {"N": 35},
    "xrai": {"steps": 100},
}


def make_methods():
    spec = importlib.util.spec_from_file_location("make_methods", ROOT / "docs" / "make_methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    written = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert make_methods().page() == written, "run `python docs/make_methods.py`"


def test_links_of_the_table_lead_to_headings():
    maker, text = make_methods(), (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    before: dict[str, int] = {}
    headings = [
        maker.anchor(title, before) for title in re.findall(r"^## (.*)$", text, re.MULTILINE)
    ]
    assert re.findall(r"\]\(#(.*?)\)", text) == headings
    assert len(set(headings)) == len(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_docstring_says_all(name):
    told = describe(registry.explainer(name))
    assert told.summary.endswith(".")
    assert told.equations or name == "xrai"  # an algorithm
    size = (
        r"\[b,H,W\] of the images" if "[b,H,W]" in told.map else r"\[b,h,w\] of the (layer|patches)"
    )
    assert re.match(size + r", (>= 0|signed)\b", told.map)
    assert re.match(r"`.+` forward pass", told.cost)
    assert all(option.text for option in told.options)
    if told.cls.paper == "-":
        assert told.link == ""
    else:
        assert told.link.endswith(told.cls.paper)
        # a library's; a section without a number
        assert told.places or name in ("eigengradcam", "shapleycam")


@pytest.mark.parametrize("name", BUILT_IN)
def test_forward_passes_and_range_are_what_the_docstring_says(name):
    told, model, x = describe(registry.explainer(name)), seeded(NETS.get(name, Net)()), images(1)
    if isinstance(model, TokenNet):
        first = model.patches = Counted(model.patches)
    else:
        first = model.features[0] = Counted(model.features[0])
    bound = camport.bind(model, WITH.get(name, name), "features")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamportWarning)
        bound(x, 1)  # which may choose a layer
        first.images.clear()
        explanation = bound(x, 1)
    numbers = {"c": 8, "h": 7, "w": 9, **NUMBERS.get(name, {})}
    assert sum(first.images) == eval(told.passes, numbers)
    behind = re.search(r"`([^`]+)` behind the layer", told.cost)
    assert bool(behind) == (name in ("ablationcam", "reciprocam"))
    assert tuple(explanation.raw.shape[1:]) == ((14, 18) if "[b,H,W]" in told.map else (7, 9))
    assert told.signed or explanation.raw.min() >= 0


@pytest.mark.parametrize(("name", "runs"), [("ablationcam", 8), ("reciprocam", 7 * 9)])
def test_runs_behind_the_layer(name, runs):
    told, model = describe(registry.explainer(name)), seeded(Net())
    last = model.head[5] = Counted(model.head[5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamportWarning)
        bound = camport.bind(model, name, "features")
        bound(images(1), 1)  # which sees whether the model mixes images
        last.images.clear()
        bound(images(1), 1)
    formula = re.search(r"`([^`]+)` behind the layer", told.cost).group(1)
    assert sum(last.images) - int(told.passes) == runs == eval(formula, {"c": 8, "h": 7, "w": 9})


def test_a_plugin_without_docstring_is_described_by_its_traits():
    class Bare(camport.Explainer):
        name, title, paper, family, needs_gradients = "bare", "Bare", "-", "activation", False

        def saliency(self, probe):
            return probe.activations[0].sum(1)

    told = describe(Bare)
    assert (told.map, told.cost, told.passes, told.options, told.link) == ("", "", "", (), "")
