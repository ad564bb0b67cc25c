"""The bridges with the packages that they lead to,
run by test_packages.py in an environment that has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from tests.bridges.explained import classified, detected, network, pictures

ROOT = Path(__file__).parents[2]


def test_supervision(tmp_path):
    import supervision as sv

    from camport.bridges.supervision import detections

    explanation, labels = detected()
    found = detections(explanation, image=0, labels=labels, mask_above=0.5)
    rows = [i for i, row in enumerate(explanation.figures["image"]) if row == 0]
    assert len(found) == len(rows) >= 2
    one = found[found.confidence > 0.5][0:1]  # as its users select
    np.testing.assert_array_equal(one.data["heatmap"][0], explanation.heatmap[rows][0])
    assert one.data["class_name"][0] == labels[one.class_id[0]]
    scene = np.full((128, 128, 3), 100, np.uint8)
    drawn = sv.MaskAnnotator(opacity=1).annotate(scene.copy(), one)
    changed = (drawn != scene).any(2)
    assert (changed == one.mask[0]).all()


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from camport.bridges.tensorboard import add_explanation

    with SummaryWriter(tmp_path) as writer:
        add_explanation(writer, "cat", classified(), step=7)
    read = EventAccumulator(str(tmp_path)).Reload()
    scores = [read.Scalars(f"cat/score/{i}")[0] for i in (0, 1)]
    assert [s.value for s in scores] == pytest.approx(classified().score.tolist())
    assert scores[0].step == 7
    (picture,) = read.Images("cat")
    assert (picture.height, picture.width) == (16, 40)  # two of them side by side


def test_mlflow(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    from camport.bridges.mlflow import log_explanation

    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())  # a database needs the whole of mlflow
    mlflow.set_experiment(
        experiment_id=mlflow.create_experiment(
            "maps", artifact_location=(tmp_path / "kept").as_uri()
        )
    )
    with mlflow.start_run() as run:
        log_explanation(classified(), "cat", step=3)
    places = {p.name: p for p in (tmp_path / "kept").rglob("cat/*")}
    assert sorted(places) == ["0.png", "1.png", "explanation.npz"]
    with np.load(places["explanation.npz"]) as numbers, Image.open(places["1.png"]) as shown:
        np.testing.assert_array_equal(numbers["heatmap"], classified().heatmap)
        assert np.array_equal(np.asarray(shown), np.asarray(classified().overlay()[1]))
    told = mlflow.get_run(run.info.run_id).data.metrics
    assert told["cat.score.1"] == pytest.approx(float(classified().score[1]))


def test_lightning(tmp_path):
    import lightning.pytorch as pl

    from camport.bridges.lightning import ExplainCallback

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return self(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pictures(4)), 2)
    explain = ExplainCallback(
        pictures(), every=2, target=torch.tensor([1, 3]), method="gradcam", layer="net.features"
    )
    options = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "logger": False,
    }
    module = Module()
    pl.Trainer(
        max_epochs=3,
        default_root_dir=tmp_path,
        callbacks=[explain],
        enable_checkpointing=False,
        **options,
    ).fit(module, data)
    assert sorted(p.name for p in (tmp_path / "explanations").iterdir()) == [
        "epoch-0000.png",
        "epoch-0002.png",
    ]
    right = camport.explain(module, pictures(), "gradcam", torch.tensor([1, 3]), "net.features")
    right.save(tmp_path / "right.png")
    with (
        Image.open(tmp_path / "explanations/epoch-0002.png") as shown,
        Image.open(tmp_path / "right.png") as wanted,
    ):
        assert np.array_equal(np.asarray(shown), np.asarray(wanted))


def test_the_hub():
    """Its own class takes the calls: one that answers nobody, told apart by its endpoint."""
    import inspect

    from huggingface_hub import HfApi, hf_hub_download

    inspect.signature(HfApi.create_repo).bind(HfApi(), "me/digits", exist_ok=True)
    inspect.signature(HfApi.upload_folder).bind(
        HfApi(), repo_id="me/digits", folder_path=".", commit_message="first"
    )
    inspect.signature(hf_hub_download).bind("me/digits", "model.onnx", revision="v1")


def test_the_card():
    import yaml
    from huggingface_hub import ModelCard

    from camport.bridges.hub_card import CARD

    names = {"title": "A", "method": "gradcam", "version": "0.1.0", "rows": "", "repo": "me/digits"}
    card = ModelCard(
        CARD.format(head="pipeline_tag: image-classification\nlicense: mit\n", **names)
    )
    assert card.data.license == "mit"
    assert card.data.tags == ["camport", "explainability", "onnx", "onnxruntime"]
    assert yaml.safe_load(str(card.data))["library_name"] == "onnx"


def test_gradio(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import gradio_app

    page = gradio_app.page("demo:digits")
    assert [type(part).__name__ for part in page.input_components] == [
        "Image",
        "Dropdown",
        "Number",
    ]
    scene = np.full((128, 128, 3), 100, np.uint8)
    shown, chances = page.fn(Image.fromarray(scene), "gradcam", -1)
    assert shown.size == (128, 128)
    assert len(chances) == 10


def test_fiftyone():
    import fiftyone as fo

    from camport.bridges.fiftyone import heatmaps

    first, second = heatmaps(classified())
    assert isinstance(first, fo.Heatmap)
    np.testing.assert_array_equal(second.map, classified().heatmap[1])
    assert second.range == [0, 1]
    assert second["target"] == 3
    assert fo.Heatmap.from_dict(second.to_dict())["method"] == "gradcam"  # as its database keeps it


def test_ultralytics(tmp_path, monkeypatch):
    """A training, by the package's own trainer, of four pictures with a bright square each."""
    import ultralytics
    from PIL import Image

    from camport.bridges.ultralytics import explain_every

    monkeypatch.chdir(tmp_path)
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 90, (64, 64, 3), dtype=np.uint8)
        pixels[16:40, 8 + 4 * i : 32 + 4 * i] = 240
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        centre = (20 + 4 * i) / 64
        (tmp_path / "labels" / f"{i}.txt").write_text(f"0 {centre} 0.4375 0.375 0.375\n")
    (tmp_path / "data.yaml").write_text(
        f"path: {tmp_path}\ntrain: images\nval: images\nnames: {{0: square}}\n"
    )
    yolo = ultralytics.YOLO("yolov8n.yaml")
    yolo.add_callback("on_fit_epoch_end", explain_every(torch.rand(1, 3, 160, 160), 2))
    quiet = {"plots": False, "amp": False, "workers": 0, "device": "cpu", "verbose": False}
    yolo.train(
        data="data.yaml", epochs=3, imgsz=64, batch=2, project=str(tmp_path / "runs"), **quiet
    )
    explained = yolo.trainer.save_dir / "explanations"
    assert sorted(p.name for p in explained.iterdir()) == ["epoch-0000.png", "epoch-0002.png"]
    assert yolo.trainer.epoch == 2  # to its end, whatever the callback did between
    weights = [p for p in yolo.trainer.model.parameters() if p.requires_grad]
    assert weights
    assert all(bool(p.isfinite().all()) for p in weights)
