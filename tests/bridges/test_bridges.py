"""The bridges without the packages that they lead to: what is handed over,
and what a missing package says.

tests/bridges/test_packages.py has them with the packages themselves.
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport.bridges import hub, tensorboard, ultralytics
from camport.errors import CamportWarning, InputError, MissingDependencyError
from camport.export import to_onnx
from camport.runtime import Detections
from tests.bridges.explained import classified, detected, network, pictures

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning")


class Calls:
    """Stands for a module or object of another package, and keeps what it is called with."""

    def __init__(self) -> None:
        self.made: list[tuple] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **options):
            self.made.append((name, args, options))
            return SimpleNamespace(name=name, args=args, **options)

        return call


@pytest.fixture
def stands_for(monkeypatch):
    def put(name: str) -> Calls:
        monkeypatch.setitem(sys.modules, name, calls := Calls())
        return calls

    return put


@pytest.mark.parametrize(
    ("package", "use", "install"),
    [
        ("supervision", lambda room: room.detections(detected()[0]), "supervision"),
        ("fiftyone", lambda room: room.heatmaps(classified()), "fiftyone"),
        ("mlflow", lambda room: room.log_explanation(classified(), "cat"), "mlflow"),
        ("huggingface_hub", lambda room: room.download("owner/name"), "huggingface_hub"),
        ("lightning", lambda room: room.ExplainCallback(pictures()), "lightning"),
    ],
)
def test_a_missing_package_is_named_with_its_command(monkeypatch, package, use, install):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "camport.bridges.lightning", raising=False)
    with pytest.raises(
        MissingDependencyError, match=f"{package} is needed for this: pip install {install}$"
    ):
        use(import_module(f"camport.bridges.{'hub' if package == 'huggingface_hub' else package}"))


def test_what_an_installed_package_misses_is_its_own_error(monkeypatch, tmp_path):
    (tmp_path / "halfthere.py").write_text("import notthere_atall")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="notthere_atall"):
        import_module("camport.bridges.packages").package("halfthere", "halfthere")


def test_supervision(stands_for):
    stands_for("supervision")
    from camport.bridges.supervision import detections

    explanation, labels = detected()
    rows = [int(row) for row in explanation.figures["image"]]
    assert {*rows} == {0, 1}
    second = [i for i, row in enumerate(rows) if row == 1]
    found = detections(explanation, image=1, labels=labels, mask_above=0.5)
    boxes, mask, confidence = found.args
    np.testing.assert_array_equal(boxes, explanation.figures["boxes"][second])
    np.testing.assert_array_equal(confidence, explanation.figures["confidence"][second])
    np.testing.assert_array_equal(found.data["heatmap"], explanation.heatmap[second])
    assert (mask == (found.data["heatmap"] >= 0.5)).all()
    assert mask.any((1, 2)).all()
    assert found.class_id.tolist() == explanation.figures["class_ids"][second].tolist()
    assert found.data["class_name"].tolist() == [labels[c] for c in found.class_id]


def test_supervision_of_a_file(stands_for):
    stands_for("supervision")
    from camport.bridges.supervision import detections

    told = Detections(np.float32([[1, 2, 3, 4]]), np.array([7]), np.float32([0.5]))
    maps = np.random.default_rng(0).random((1, 8, 9))
    found = detections(told, maps)
    assert found.args[0].tolist() == [[1, 2, 3, 4]]
    assert found.args[1] is None
    assert found.class_id.tolist() == [7]
    assert (found.data["heatmap"] == maps).all()
    with pytest.raises(InputError, match="0 maps for 1 detections"):
        detections(told)
    with pytest.raises(
        InputError,
        match="the explanation by gradcam has no boxes; explain with adapter='detection'",
    ):
        detections(classified())


def test_fiftyone(stands_for):
    calls = stands_for("fiftyone")
    from camport.bridges.fiftyone import heatmaps

    assert len(heatmaps(classified())) == 2
    for row, (name, _, options) in enumerate(calls.made):
        assert name == "Heatmap"
        np.testing.assert_array_equal(options["map"], classified().heatmap[row])
        assert options["range"] == [0, 1]
        assert options["method"] == "gradcam"
        assert options["target"] == [1, 3][row]
        assert options["score"] == pytest.approx(float(classified().score[row]))


def test_tensorboard():
    writer = Calls()
    tensorboard.add_explanation(writer, "cat", classified(), step=7, colormap="viridis")
    name, (tag, shown, step), options = writer.made[0]
    assert (name, tag, step, options) == ("add_images", "cat", 7, {"dataformats": "NHWC"})
    for picture, right in zip(shown, classified().overlay(colormap="viridis"), strict=True):
        assert (picture == np.asarray(right)).all()
    scores = [(f"cat/score/{i}", score, 7) for i, score in enumerate(classified().score.tolist())]
    assert [args for _, args, _ in writer.made[1:]] == scores


def test_mlflow(stands_for, tmp_path):
    calls = stands_for("mlflow")
    kept = {}

    def log_artifact(path, folder):
        with np.load(path) as file:
            kept[folder] = dict(file)

    calls.log_artifact = log_artifact
    from camport.bridges.mlflow import log_explanation

    log_explanation(classified(), "cat", step=3)
    assert [args[1] for name, args, _ in calls.made if name == "log_image"] == [
        "cat/0.png",
        "cat/1.png",
    ]
    assert np.array_equal(calls.made[0][1][0], classified().overlay()[0])
    np.testing.assert_array_equal(kept["cat"]["heatmap"], classified().heatmap)
    scores = {f"cat.score.{i}": score for i, score in enumerate(classified().score.tolist())}
    assert calls.made[-1] == ("log_metrics", (scores,), {"step": 3})


@pytest.fixture
def callback(monkeypatch):
    """The callback, on a package that has nothing but the name of its base."""
    pl = ModuleType("lightning.pytorch")
    pl.Callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", pl)
    monkeypatch.delitem(sys.modules, "camport.bridges.lightning", raising=False)
    yield import_module("camport.bridges.lightning").ExplainCallback
    sys.modules.pop("camport.bridges.lightning", None)


def trainer(epoch, folder=None, writer=None, first=True):
    logger = None if writer is None else SimpleNamespace(experiment=writer)
    places = {"log_dir": None if folder is None else str(folder), "default_root_dir": "."}
    return SimpleNamespace(
        current_epoch=epoch, global_step=10 * epoch, is_global_zero=first, logger=logger, **places
    )


def test_lightning(callback, tmp_path):
    module = network().train()
    module.device = torch.device("cpu")
    explain = callback(
        pictures(), every=2, target=torch.tensor([1, 3]), method="gradcam", layer="features"
    )
    for epoch in range(4):
        explain.on_train_epoch_end(trainer(epoch, tmp_path), module)
    explain.on_train_epoch_end(trainer(4, tmp_path, first=False), module)
    names = ["epoch-0000.png", "epoch-0002.png"]
    assert sorted(p.name for p in (tmp_path / "explanations").iterdir()) == names
    right = classified().save(tmp_path / "right.png")
    assert same(tmp_path / "explanations" / names[0], right)
    assert module.training
    explain.on_train_epoch_end(trainer(2, tmp_path, writer := Calls()), module)
    assert writer.made[0][1][0] == "gradcam"
    assert writer.made[0][1][2] == 20
    with pytest.warns(CamportWarning, match="epoch 5 was not explained: no layer 'feature'"):
        callback(pictures(), layer="feature").on_train_epoch_end(trainer(5), module)
    with pytest.raises(InputError, match="every is 0"):
        callback(pictures(), every=0)


def same(first, second):
    with Image.open(first) as a, Image.open(second) as b:
        return np.array_equal(np.asarray(a), np.asarray(b))


def test_ultralytics(tmp_path):
    from camport.models import load_model

    explanation, _ = detected()
    model = load_model("demo:detector").model
    images = explanation.images[[0]]
    seen = SimpleNamespace(ema=SimpleNamespace(ema=model), model=None, save_dir=tmp_path, epoch=0)
    explain = ultralytics.explain_every(images, 2)
    for seen.epoch in (0, 1, 2):
        explain(seen)
    names = ["epoch-0000.png", "epoch-0002.png"]
    assert sorted(p.name for p in (tmp_path / "explanations").iterdir()) == names
    best = camport.adapters.DetectionAdapter(threshold=0.0, most=3)
    right = camport.explain(model, images, adapter=best)
    assert len(right.score) == 3
    assert same(tmp_path / "explanations" / names[0], right.save(tmp_path / "right.png"))
    seen.ema, seen.model, seen.epoch = None, model, 4
    explain(seen)
    assert same(tmp_path / "explanations/epoch-0004.png", tmp_path / "right.png")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    bound = camport.bind(network(), "gradcam", "features")
    return to_onnx(bound, tmp_path_factory.mktemp("file") / "any-name.onnx", pictures()).path


def test_pushed_to_the_hub(file):
    class Api(Calls):
        def upload_folder(self, repo_id, folder_path, **options):
            self.card = Path(folder_path, "README.md").read_text("utf-8")
            self.bytes = Path(folder_path, "model.onnx").read_bytes()
            self.names = sorted(p.name for p in Path(folder_path).iterdir())
            return f"https://hub/{repo_id}", options

    api = Api()
    given = hub.push(file, "me/digits", licence="mit", api=api, commit_message="first")
    assert given == ("https://hub/me/digits", {"commit_message": "first"})
    assert api.made == [("create_repo", ("me/digits",), {"exist_ok": True})]
    assert api.names == ["README.md", "model.onnx"]
    assert api.bytes == Path(file).read_bytes()
    head, body = api.card.split("---\n")[1:]
    told = dict(line.split(": ", 1) for line in head.splitlines())
    assert told["pipeline_tag"] == "image-classification"
    assert told["license"] == "mit"
    assert "# Classification, explained by gradcam" in body
    assert "| `images` | in | float32 [" in body
    assert "| `heatmap` | out | float32 [" in body
    assert 'download("me/digits")' in body


def test_loaded_from_the_hub(file, stands_for):
    calls = stands_for("huggingface_hub")
    calls.hf_hub_download = lambda repo, name, **options: {("me/digits", "model.onnx", "v1"): file}[
        (repo, name, options["revision"])
    ]
    result = hub.download("me/digits", revision="v1")(pictures().numpy(), target=[1, 3])
    np.testing.assert_allclose(result.heatmap, classified().heatmap, atol=1e-5)


def test_the_gradio_example(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    from camport.demo.scenes import make_scene

    scene = make_scene(3, split="held-out", digits=1, size=128)
    label = scene.digits[0].label
    explain = import_module("gradio_app").explained("demo:digits")
    shown, chances = explain(Image.fromarray(scene.image), "layercam", label)
    assert shown.size == (128, 128)
    assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    assert len(chances) == 10
    heat = np.asarray(shown, float) - np.asarray(scene.image, float)
    left, top, right, bottom = scene.digits[0].box
    inside = np.zeros(heat.shape[:2], bool)
    inside[int(top) : int(bottom), int(left) : int(right)] = True
    changed = np.abs(heat).mean(2)
    assert changed[inside].mean() > 1.5 * changed[~inside].mean()


def test_no_bridge_is_longer_than_a_page():
    lengths = {
        p.name: len(p.read_text("utf-8").splitlines())
        for p in (ROOT / "camport/bridges").glob("*.py")
    }
    assert len(lengths) >= 9
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_bridges_import_none_of_their_packages():
    others = {
        "supervision",
        "fiftyone",
        "mlflow",
        "lightning",
        "ultralytics",
        "huggingface_hub",
        "tensorboard",
    }
    rooms = ["fiftyone", "hub", "mlflow", "supervision", "tensorboard", "ultralytics"]
    program = (
        f"import sys; {'; '.join(f'import camport.bridges.{room}' for room in rooms)};"
        " print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert {f"camport.bridges.{room}" for room in rooms} <= loaded
    assert sorted(others & loaded) == []
