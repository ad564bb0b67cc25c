"""The demo's figures of photographs: what stands in their cells,
and what a machine without the extra is told."""

import json

import numpy as np
import pytest
import torch

import camport
from camport.demo import carried
from camport.errors import MissingDependencyError
from camport.models import load_model
from camport.show import photographs as show_photographs
from camport.show import show
from camport.view import overlay


@pytest.fixture(scope="module")
def loaded():
    return load_model("demo:imagenet")


def test_a_picture_is_what_the_network_saw(loaded):
    """512 x 512 becomes 256 x 256, 16 pixels cut off each side: 32 of the photograph's."""
    one = show_photographs.seen(loaded, "camera", "tripod")
    whole = show_photographs.photograph("camera")
    assert np.array_equal(np.asarray(one.picture), np.asarray(whole.crop((32, 32, 480, 480))))
    assert one.target == 872
    marked = np.zeros((224, 224), np.float32)
    marked[10:20, 100:120] = 1
    rows, columns = np.nonzero(one.shown(marked) > 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 39, 200, 239)


@pytest.mark.everything
def test_cells_are_the_maps_of_their_class(loaded, monkeypatch):
    """Every cell of the figure is read, and the cats' contrast is the map of the difference of
    their logits."""
    shown = {}
    monkeypatch.setattr(
        show_photographs, "grid", lambda rows, **named: shown.update(rows=rows, **named)
    )
    asked = [
        show_photographs.seen(loaded, name, label) for name, label in show_photographs.ASKED[:3]
    ]
    show_photographs.classes(loaded, asked)
    captions = [
        "tiger cat, 39%",
        "Egyptian cat, 36%",
        "Egyptian cat, not tiger cat",
        "espresso, 95%",
    ]
    assert [cell.caption for cell in shown["rows"][0]] == captions
    assert shown["row_labels"] == ["photograph", "Grad-CAM", "Guided Grad-CAM"]
    cat, contrast = asked[0], shown["rows"][1][2].image
    kept = []
    handle = loaded.model.bn2.register_forward_hook(lambda *call: kept.append(call[2]))
    logits = loaded.model(cat.pixels)[0]
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[285] - logits[282], kept[0])
    raw = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu().detach()
    raw = torch.nn.functional.interpolate(raw, (224, 224), mode="bilinear", align_corners=False)[
        0, 0
    ]
    wanted = overlay(
        cat.picture, cat.shown(((raw - raw.min()) / (raw.max() - raw.min())).numpy()), alpha=0.6
    )
    assert np.abs(np.asarray(contrast).astype(int) - np.asarray(wanted)).max() <= 2


def test_every_stage_has_its_map(loaded, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        show_photographs,
        "layer_grid",
        lambda image, maps, **named: shown.update(maps=maps, **named),
    )
    one = show_photographs.seen(loaded, "coffee", "espresso")
    show_photographs.layers(loaded, one)
    assert tuple(shown["maps"]) == show_photographs.STAGES
    assert list(shown["captions"].values()) == [
        f"{s} x {s}" for s in (112, 56, 28, 14, 14, 7, 7, 7)
    ]
    wanted = (
        camport.explain(loaded.model, one.pixels, target=967, layer="blocks.3").heatmap[0].numpy()
    )
    np.testing.assert_allclose(shown["maps"]["blocks.3"], one.shown(wanted), atol=1e-5)


def test_the_file_is_run_on_the_photographs_themselves(loaded, tmp_path, monkeypatch):
    """Without an export: what runs the file is handed every photograph with its class."""
    told = {}

    def run_edge(file, out, samples):
        told["scenes"] = json.loads((samples / "samples.json").read_text())
        return {"heatmap": told["eager"]}

    def export(bound, file, images):
        told["eager"] = bound(images, torch.tensor([282, 285, 967, 872])).heatmap.numpy()
        assert bound.labels[282] == "tiger cat"
        assert bound.preprocess["fit"] == "crop"

    monkeypatch.setattr(show_photographs, "to_onnx", export)
    monkeypatch.setattr(show_photographs, "classes", lambda *_: np.zeros((9, 9, 3), np.uint8))
    monkeypatch.setattr(show_photographs, "layers", lambda *_: np.zeros((9, 9, 3), np.uint8))
    assert show_photographs.show(tmp_path, lambda text: None, run_edge) == 0
    assert [scene["digits"] for scene in told["scenes"]] == [
        [{"label": k}] for k in (282, 285, 967, 872)
    ]
    files = [
        str(carried.carried(f"skimage/data/{n}.png"))
        for n in ("chelsea", "chelsea", "coffee", "camera")
    ]
    assert [scene["file"] for scene in told["scenes"]] == files
    pictures = [
        "0-photographs-layers.png",
        "0-photographs-without-pytorch.png",
        "0-photographs.png",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == pictures


def test_without_the_extra_the_rest_is_shown_and_the_remedy_named(tmp_path, monkeypatch):
    """The digits need none of it; the demo goes on to them and says what is missing."""

    class Reached(Exception):
        pass

    def digits(spec):
        raise (
            Reached(spec)
            if spec == "demo:digits"
            else MissingDependencyError(f"no timm: {carried.REMEDY}")
        )

    monkeypatch.setattr(show_photographs, "load_model", digits)
    monkeypatch.setattr(show, "load_model", digits)
    threads = torch.get_num_threads()
    try:
        with pytest.raises(Reached, match="demo:digits"):
            show.show(tmp_path, lambda text: None)
    finally:
        torch.set_num_threads(threads)
