"""Each experiment of docs/experiments.md runs as its script does, on fewer images,
and shows what the page says."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a script's `main` and looks whether it drew a figure."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks are small, and a second thread mostly waits

    def run(name, *arguments, suffix=".png"):
        figure = tmp_path / f"{name}{suffix}"
        numbers = importlib.import_module(name).main(figure, *arguments)
        with Image.open(figure) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
        return numbers

    yield run
    torch.set_num_threads(threads)


def test_scripts_are_short():
    lines = {path.name: path.read_text().count("\n") for path in EXAMPLES.glob("*.py")}
    assert len(lines) >= 10
    assert not {name: count for name, count in lines.items() if count > 60}


def test_the_page_shows_every_script_and_its_figure():
    page = (EXAMPLES.parent / "docs" / "experiments.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        if path.name not in ("cases.py", "first_onnx.py", "gradio_app.py"):
            assert f"python examples/{path.name} docs/images/" in page, path.name
    for figure in (
        line.split("](")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")
    ):
        assert (EXAMPLES.parent / "docs" / figure).stat().st_size <= 150_000, figure


@pytest.mark.everything
def test_without_pooling_maps_are_finer(run):
    numbers = run("gap_pooling", 12)
    assert (numbers["gap-pool"][0], numbers["gap-full"][0]) == (16, 64)
    assert numbers["gap-full"][1] < 0.7 * numbers["gap-pool"][1]  # hot pixels
    assert min(energy for *_, energy in numbers.values()) > 0.4  # chance is 0.09


@pytest.mark.everything
def test_gradcam_plus_plus_finds_more_of_several_digits(run):
    numbers = run("several_of_one_class", 16)
    for layer in ("layer2", "layer3"):
        # the weaker digit's peak
        assert numbers["gradcam++", layer][1] > numbers["gradcam", layer][1]
        # at the price of energy elsewhere
        assert numbers["gradcam++", layer][2] < numbers["gradcam", layer][2]


@pytest.mark.everything
def test_layercam_points_right_in_shallow_layers(run):
    numbers = run("shallow_layers", 16)
    for layer in ("relu", "layer1"):
        assert numbers["layercam", layer][0] > numbers["gradcam", layer][0] + 0.2
        assert numbers["layercam", layer][1] > numbers["gradcam", layer][1] + 0.1
    assert abs(numbers["layercam", "layer3"][0] - numbers["gradcam", "layer3"][0]) < 0.15


@pytest.mark.everything
def test_rules_for_relu_forget_the_class(run):
    cosines = run("gradients_side_by_side")
    assert cosines["deconvnet"] > 0.99
    assert cosines["guided_backprop"] > 0.99
    assert cosines["saliency"] < 0.9


@pytest.mark.everything
def test_scorecam_drops_least_and_gradcam_is_deleted_first(run):
    numbers = run("scorecam_comparison", 6)
    assert numbers["scorecam"]["average drop"] < numbers["gradcam"]["average drop"]
    assert numbers["gradcam"]["insertion"] > numbers["scorecam"]["insertion"]
    assert numbers["gradcam"]["energy"] > numbers["scorecam"]["energy"] + 0.1


@pytest.mark.everything
def test_group_cam_of_one_group_is_best_where_grad_cam_is_exact(run):
    sweeps = run("groupcam_ablation", 3, (1, 16), (0.0, 30.0, 90.0))
    one, sixteen = sweeps["G"]
    assert one["energy in the boxes"] > sixteen["energy in the boxes"] + 0.04
    assert one["insertion"] > sixteen["insertion"] + 0.05
    assert one["deletion"] < sixteen["deletion"] - 0.01
    low, middle, high = (found["energy in the boxes"] for found in sweeps["theta"])
    assert middle == pytest.approx(low, abs=5e-3)
    assert high > low + 0.1


@pytest.mark.everything
def test_a_biased_classifier_looks_beside_the_animal(run):
    numbers = run("biased_classifier", 250, 8, suffix=".jpg")
    assert numbers["biased"][0] < 0.65  # half of the animals stand where they do not belong
    assert numbers["biased"][1] > 0.9  # the animals cover 0.06 of the images
    assert numbers["fair"][1] < numbers["biased"][1] - 0.08


@pytest.mark.everything
def test_maps_settle_as_the_loss_falls(run):
    losses, drifts = run("maps_converge", 300, 24)
    assert losses[-1] < 0.2 * losses[0]
    assert np.mean(drifts[-4:]) < 0.25 * np.max(drifts)


@pytest.mark.everything
def test_training_with_and_without_starts_from_the_same(run):
    before, without, beside = run("train_with_explanations", 2, 64, 1, 100)
    assert before > 0.5
    assert len(without) == len(beside) == 2
    assert without != beside  # the augmentation does something
    assert min(without + beside) > 0.4  # and what is trained still knows its digits
