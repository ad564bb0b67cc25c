import importlib
import inspect
import pkgutil
import types
import warnings

import pytest
from torch import nn

import camport
from camport.core.registry import KILL_SWITCH, Registry, model_families
from camport.errors import PluginWarning, UnknownNameError
from camport.models import load_model, specs
from camport.plugins import GradCAM


class Distribution:
    name, version = "camport-thirdparty", "1.2"


class EntryPoint:
    """What importlib.metadata gives for a plugin, with the plugin at hand."""

    def __init__(self, name, plugin):
        self.name, self.plugin, self.dist = name, plugin, Distribution()

    def load(self):
        if isinstance(self.plugin, Exception):
            raise self.plugin
        return self.plugin


class Mine(camport.Explainer):
    name, title, paper, family, needs_gradients = "mine", "Mine", "-", "activation", False

    def saliency(self, probe):
        return probe.activations[0].amax(1)


def module(hook="camport_explainers", classes=(Mine,)):
    plugin = types.ModuleType("third_party")
    setattr(plugin, hook, camport.hookimpl(lambda: list(classes)))
    return plugin


def test_built_in_and_third_party_come_through_the_same_door():
    registry = Registry([EntryPoint("third", module())])
    assert registry.find("explainer", "mine") is Mine
    assert registry.find("explainer", "gradcam") is GradCAM
    states = {p.name: (p.state, p.distribution, p.version) for p in registry.plugins}
    assert states["third"] == ("loaded", "camport-thirdparty", "1.2")
    assert states["camport.plugins"][0] == "loaded"


def refused(plugin, match):
    with pytest.warns(PluginWarning, match=match) as caught:
        registry = Registry(
            [EntryPoint("third", plugin), EntryPoint("zother", module(classes=[Mine]))]
        )
    assert len(caught) == 1
    assert "camport-thirdparty 1.2" in str(caught[0].message)
    assert KILL_SWITCH in str(caught[0].message)
    # it costs only itself
    assert registry.find("explainer", "gradcam") is GradCAM
    assert registry.find("explainer", "mine") is Mine
    assert next(p for p in registry.plugins if p.name == "third").state.startswith("broken")


def test_a_plugin_that_does_not_import_costs_only_itself():
    refused(ImportError("no module named nowhere"), "nowhere")


def test_a_misspelt_hook_is_said():
    refused(
        module("camport_explainer"),
        "hook that does not exist.*camport_explainers, camport_adapters",
    )


def test_a_plugin_without_hooks_is_said():
    refused(types.ModuleType("empty"), "implements no hook; mark functions named")


def test_a_duplicate_name_names_both_owners():
    class Taken(Mine):
        name = "gradcam"

    refused(module(classes=[Taken]), "'gradcam' is taken by plugin 'camport.plugins' of camport")


def test_what_is_no_explainer_is_said():
    refused(module(classes=[object]), "no subclass of camport.Explainer")


def test_an_abstract_class_is_said():
    class Unfinished(camport.Explainer):
        name, title, paper, family, needs_gradients = "u", "U", "-", "activation", False

    refused(module(classes=[Unfinished]), "abstract: it does not implement saliency")


def test_missing_traits_are_said():
    class Traitless(camport.Explainer):
        name = "t"

        def saliency(self, probe):
            return probe.activations[0].amax(1)

    refused(module(classes=[Traitless]), "does not declare title, paper, family, needs_gradients")


def test_a_hook_that_raises_or_returns_nonsense():
    def broken():
        raise ZeroDivisionError("oops")

    plugin = types.ModuleType("p")
    plugin.camport_explainers = camport.hookimpl(broken)
    refused(plugin, "ZeroDivisionError: oops")
    plugin = types.ModuleType("p")
    plugin.camport_explainers = camport.hookimpl(lambda: Mine)
    refused(plugin, "returned .*Mine.*wanted a list of explainer classes")


def test_a_plugin_is_registered_wholly_or_not_at_all():
    class Second(Mine):
        name = "gradcam"

    with pytest.warns(PluginWarning):
        registry = Registry([EntryPoint("third", module(classes=[Mine, Second]))])
    with pytest.raises(UnknownNameError):
        registry.find("explainer", "mine")


@pytest.mark.parametrize(
    ("switch", "there"), [("1", False), ("third", False), ("other, third", False), ("other", True)]
)
def test_kill_switch(switch, there):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry = Registry([EntryPoint("third", module())], switch)
    assert ("mine" in registry.classes["explainer"]) is there
    state = next(p.state for p in registry.plugins if p.name == "third")
    assert state == ("loaded" if there else f"disabled by {KILL_SWITCH}")


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown method 'grad-cam'; did you mean 'gradcam'"):
        camport.bind(nn.Identity(), "grad-cam")
    with pytest.raises(
        UnknownNameError, match="unknown adapter 'clasification'; did you mean 'classification'"
    ):
        camport.bind(nn.Identity(), adapter="clasification")


def test_listings_tell_the_traits():
    info = camport.methods()["gradcam++"]
    assert (info.title, info.paper, info.needs_gradients, info.exportable) == (
        "Grad-CAM++",
        "1710.11063",
        True,
        True,
    )
    assert info.distribution == "camport"
    assert camport.adapters()["classification"].distribution == "camport"


def test_same_entry_point_name_twice():
    with pytest.warns(PluginWarning, match="registered already"):
        registry = Registry([EntryPoint("third", module()), EntryPoint("third", module())])
    assert registry.find("explainer", "mine") is Mine


class Number(camport.Metric):
    name, title = "number", "Number"

    def __call__(self, heatmap, region=None):
        return heatmap.amax((1, 2))


@pytest.mark.parametrize(
    ("traits", "match"),
    [
        (
            {"__call__": camport.Metric.__call__},
            "abstract: it implements neither __call__ nor measure nor curves",
        ),
        ({"needs": "model"}, "needs 'model'; wanted a frozenset of explain, model, region"),
        ({"needs": frozenset({"truth"})}, "wanted a frozenset of explain, model, region"),
        ({"better": "bigger"}, "'bigger' is better; wanted 'higher' or 'lower'"),
    ],
)
def test_what_a_metric_declares_is_checked(traits, match):
    refused(module("camport_metrics", [type("Wrong", (Number,), traits)]), match)


def test_a_metric_comes_through_the_same_door():
    registry = Registry([EntryPoint("third", module("camport_metrics", [Number]))])
    assert registry.find("metric", "number") is Number


class Family(camport.ModelFamily):
    name, title, form = "mylib", "mylib's models, e.g. mylib:one", "MODEL"

    def load(self, name, weights, *, pretrained, trust_checkpoint):
        return camport.models.Loaded(
            nn.Linear(2, len(name)), labels=(str(weights), str(pretrained), str(trust_checkpoint))
        )


@pytest.mark.parametrize(
    ("traits", "match"),
    [
        ({"name": "my:lib"}, "'my:lib' cannot stand before a colon"),
        ({"title": 3}, "whose title is '3'; declare a text"),
        ({"load": camport.ModelFamily.load}, "abstract: it does not implement load"),
        (
            {"name": "timm"},
            "model family name 'timm' is taken by plugin 'camport.models.families' of camport",
        ),
    ],
)
def test_what_a_family_of_models_declares_is_checked(traits, match):
    refused(module("camport_models", [type("Wrong", (Family,), traits)]), match)


def test_a_family_of_models_is_a_spec(monkeypatch):
    registry = Registry([EntryPoint("third", module("camport_models", [Family]))])
    monkeypatch.setattr("camport.core.registry.registered", lambda: registry)
    assert specs()["mylib:MODEL"] == "mylib's models, e.g. mylib:one"
    found = load_model("mylib:three", "none", trust_checkpoint=True)
    assert found.model.out_features == 5
    assert found.labels == ("None", "False", "True")
    with pytest.raises(
        UnknownNameError, match="unknown model family 'mylob'; did you mean 'mylib'"
    ):
        load_model("mylob:three")


def below(base):
    """All subclasses."""
    for cls in base.__subclasses__():
        yield cls
        yield from below(cls)


@pytest.mark.parametrize(
    ("base", "room", "known"),
    [
        (camport.Explainer, "plugins", camport.methods),
        (camport.Adapter, "adapters", camport.adapters),
        (camport.Metric, "metrics", camport.metrics),
        (camport.ModelFamily, "models", model_families),
    ],
)
def test_no_class_of_a_room_is_left_out_of_its_list(base, room, known):
    package = importlib.import_module(f"camport.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"camport.{room}."):
        importlib.import_module(module.name)
    own = {
        cls.name
        for cls in below(base)
        if cls.__module__.startswith(f"camport.{room}.")
        and "name" in vars(cls)
        and not inspect.isabstract(cls)
    }
    assert own
    assert own - set(known()) <= {"smoothed"}  # which is made around another method
