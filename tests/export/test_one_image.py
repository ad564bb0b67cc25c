"""Files that take one image and any number of targets:
the same as asking about a copy of the image for each."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import ImageOps

import camport
from benchmarks.detectors.detection import cases
from camport.adapters import DetectionAdapter, FunctionAdapter
from camport.cli import main
from camport.demo.detector import CARD
from camport.demo.detector import load as load_detector
from camport.errors import ExportError, InputError, ParityError
from camport.export import to_onnx
from camport.export.onnx_file import one_image
from camport.models import load_model
from camport.runtime import Preprocess, load, open_image
from tests.adapters.detectors import ClassicHead, Detector, Transformer, awake, photographs
from tests.marks import mostly_rare, rare
from tests.nets import images, seeded
from tests.plugins.quick import quiet, setting

pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)

PREPROCESS = Preprocess(size=(128, 128), fit="letterbox", mean=CARD.mean, std=CARD.std)
EXPORTED = [name for name, info in camport.methods().items() if info.exportable]
LOOPS = (
    *(
        "ablationcam",
        "drise",
        "groupcam",
        "integrated_gradients",
        "iscam",
        "occlusion",
        "reciprocam",
        "rise",
    ),
    *("scorecam", "smoothgrad", "smoothgradcam++", "sscam"),
)
"""Methods that run many variants of the image."""
SAMPLES = Path(camport.__file__).parent / "demo" / "samples"
TARGET = [3, -1, 1, 2, 0]


def repeated(file, images, **target):
    """What the file for a batch says, asked with a copy of the image for each target."""
    rows = len(next(iter(target.values())))
    return load(file)(np.repeat(images, rows, 0), **target)


def same(found, expected, tolerance=1e-5):
    """Every output: rows are those of the file for a batch, and what is the image's stands once."""
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        shared = name.startswith(("outputs", "feature_maps"))
        assert found[name].shape == (1 if shared else len(wanted), *wanted.shape[1:]), name
        got, largest = np.broadcast_to(found[name], wanted.shape), np.abs(wanted).max(initial=1e-9)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=tolerance * largest)


ONE_OF_A_KIND = ("gradcam", "saliency", "scorecam")
"""A layer's gradient, the image's, and a loop; the others are for `python -m tests --all`."""


@pytest.mark.parametrize(
    "name",
    mostly_rare(EXPORTED, ONE_OF_A_KIND),
)
def test_every_method_of_one_pass(name: str, tmp_path: Path) -> None:
    s = setting(name)
    bound = camport.bind(s.model.float(), s.method, s.layer)
    traced, other = s.x[:2].float(), images(1, tuple(s.x.shape[2:]), torch.float32, seed=7)
    with quiet():
        if name in LOOPS:
            with pytest.raises(
                ExportError, match="this method runs many variants of the image in a loop"
            ):
                to_onnx(bound, tmp_path / "one.onnx", traced, one_image=True)
            assert not list(tmp_path.iterdir())
            return
        to_onnx(bound, tmp_path / "one.onnx", traced, one_image=True)
        eager = bound(other.expand(len(TARGET), -1, -1, -1), torch.tensor(TARGET))
    explainer = load(tmp_path / "one.onnx")
    assert explainer.one_image
    result = explainer(other.numpy(), target=TARGET)
    expected = {"outputs": eager.outputs, "score": eager.score, "heatmap": eager.heatmap}
    expected |= {"feature_maps": eager.activations[0]} if eager.activations else {}
    expected |= {"gradients": eager.gradients[0]} if eager.gradients else {}
    same(result, {key: value.numpy() for key, value in expected.items()}, 2e-4)
    np.testing.assert_allclose(
        explainer(other.numpy(), target=2).heatmap[0], result.heatmap[3], atol=1e-5
    )


def convolutions(file):
    """How often each kernel is applied."""
    nodes = [node for node in onnx.load(file).graph.node if node.op_type == "Conv"]
    return sorted(node.input[1] for node in nodes)


@pytest.fixture(scope="module")
def detector_files(shared, finding_file):
    found = cases(6)
    bound = camport.bind(
        load_detector(), adapter="detection", preprocess=dataclasses.asdict(PREPROCESS)
    )
    traced = torch.cat([image for image, _ in found[:2]])

    def write(folder):
        to_onnx(bound, folder / "rows.onnx", traced)
        to_onnx(bound, folder / "one.onnx", traced, one_image=True)
        shutil.copy(finding_file[0] / "found.onnx", folder)
        shown = ["score", "heatmap", "outputs"]
        to_onnx(
            bound,
            folder / "photos.onnx",
            traced,
            one_image=True,
            nms=True,
            preprocess=True,
            outputs=shown,
        )

    folder, _ = shared("detector-one-image", write)
    return folder, bound, [image for image, _ in found]


@pytest.fixture(scope="module")
def finding_file(shared):
    found = cases(6)
    bound = camport.bind(
        load_detector(), adapter="detection", preprocess=dataclasses.asdict(PREPROCESS)
    )
    traced = torch.cat([image for image, _ in found[:2]])
    folder, report = shared(
        "detector-finds",
        lambda folder: to_onnx(bound, folder / "found.onnx", traced, one_image=True, nms=True),
    )
    assert report.dynamic == ("m",)
    return folder, bound, [image for image, _ in found]


@pytest.mark.everything
def test_a_detectors_image_is_run_once(detector_files):
    folder, _, found = detector_files
    boxes = np.array(
        [[5, 9, 40, 60], [70, 20, 110, 80], [0, 0, 0, 0], [60, 60, 90, 100]], np.float32
    )
    classes = [-1, 3, -1, 7]
    for image in found:
        result = load(folder / "one.onnx")(image.numpy(), boxes=boxes, class_ids=classes)
        same(result, repeated(folder / "rows.onnx", image.numpy(), boxes=boxes, class_ids=classes))
    assert convolutions(folder / "one.onnx") == convolutions(folder / "rows.onnx")
    expanded = [
        n
        for n in onnx.load(folder / "one.onnx").graph.node
        if n.op_type == "Expand" and "images" in n.input
    ]
    assert not expanded


@pytest.mark.everything
def test_a_file_explains_what_it_detects_in_one_run(finding_file):
    folder, bound, found = finding_file
    explainer = load(folder / "found.onnx")
    assert [str(port) for port in explainer.inputs] == ["images float32 [1,3,128,128]"]
    for image in found:
        eager, result = bound(image), explainer(image.numpy())
        best = np.argsort(-result.detections[:, 5], kind="stable")
        np.testing.assert_allclose(result.detections[best, 1:5], eager.figures["boxes"], atol=1e-3)
        assert result.detections[best, 6].tolist() == eager.target.tolist()
        np.testing.assert_allclose(result.score[best], eager.score, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result.heatmap[best], eager.heatmap, atol=1e-4)
        np.testing.assert_allclose(result.gradients_1[best], eager.gradients[1], atol=1e-5)


def test_nothing_detected_is_no_rows(finding_file):
    folder, _, found = finding_file
    result = load(folder / "found.onnx")(np.zeros_like(found[0].numpy()))
    rows = ("detections", "score", "heatmap", "gradients", "gradients_1", "gradients_2")
    assert {name: len(result[name]) for name in rows} == dict.fromkeys(rows, 0)
    assert result.outputs.shape == (1, 4032, 15)


@pytest.mark.everything
def test_photographs_in_detections_and_maps_out(detector_files):
    folder, _, _ = detector_files
    scene = open_image(SAMPLES / "five-six-zero.png")
    picture = ImageOps.expand(scene, (30, 10, 0, 10), (114, 114, 114))
    result = load(folder / "photos.onnx")(np.asarray(picture)[None])
    prepared, _ = PREPROCESS.apply(picture)
    expected = load(folder / "found.onnx")(prepared[None])
    assert sorted(result.detections[:, 6]) == [0, 5, 6]
    np.testing.assert_allclose(result.detections, expected.detections, atol=0.05)
    np.testing.assert_allclose(result.heatmap, expected.heatmap, atol=0.02)


@pytest.mark.everything
@pytest.mark.parametrize("name", ["one", "found", "photos"])
def test_on_the_command_line(detector_files, name, tmp_path, capsys):
    """Whatever the file takes, the same is found and drawn."""
    folder, _, _ = detector_files
    picture = ImageOps.expand(
        open_image(SAMPLES / "five-six-zero.png"), (30, 10, 0, 10), (114, 114, 114)
    )
    picture.save(tmp_path / "street.png")
    found = {}
    for file in ("rows", name):
        out = tmp_path / f"{file}.npz"
        assert (
            main(
                ["run", str(folder / f"{file}.onnx"), str(tmp_path / "street.png"), "-o", str(out)]
            )
            == 0
        )
        assert "street.png: class 0 0.9" in capsys.readouterr().out
        with np.load(out) as numbers:
            found[file] = numbers["heatmap"][np.argsort(numbers["score"])]
    np.testing.assert_allclose(found[name], found["rows"], atol=0.02)
    options = [
        str(tmp_path / "street.png"),
        "--target",
        "6",
        "--confidence",
        "0.5",
        "-o",
        str(tmp_path / "out.png"),
    ]
    assert main(["run", str(folder / f"{name}.onnx"), *options]) == 0
    assert "street.png: class 6 0.9" in capsys.readouterr().out


@pytest.mark.everything
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--box", "1,2,30,40"), "explains what it finds itself and takes no boxes"),
        (
            ("--confidence", "0.999"),
            "the file finds 3 things, but none of the class and confidence that were asked for",
        ),
        (
            ("--target", "8"),
            "the file finds 3 things, but none of the class and confidence that were asked for",
        ),
    ],
)
def test_bad_input_for_a_file_that_finds_by_itself(
    finding_file, options, message, tmp_path, capsys
):
    out = tmp_path / "out.png"
    file, picture = finding_file[0] / "found.onnx", SAMPLES / "five-six-zero.png"
    assert main(["run", str(file), str(picture), *options, "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("camport: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_exported_by_the_command_line(tmp_path, capsys):
    one = tmp_path / "one.onnx"
    assert main(["export", "-m", "demo:gap-pool", "--one-image", "-o", str(one)]) == 0
    result = load(one)(np.zeros((1, 3, 64, 64), np.float32), target=[1, 2, 3])
    assert (result.outputs.shape, result.heatmap.shape) == ((1, 10), (3, 64, 64))
    assert (
        main(
            [
                "run",
                str(one),
                str(SAMPLES / "zero-nine.png"),
                "--target",
                "9",
                "-o",
                str(tmp_path / "o.png"),
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert (
        main(["export", "-m", "demo:gap-pool", "--one-image", "-o", str(tmp_path / "one.pt2")]) == 2
    )
    assert "--one-image is for .onnx files" in capsys.readouterr().err


@pytest.mark.everything
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda: Detector(ClassicHead()), id="yolov5"),
        pytest.param(lambda: Transformer(softmax=True), id="detr"),
    ],
)
def test_other_detectors(network, tmp_path):
    model, traced = awake(network()).float(), photographs(2).float()
    bound = camport.bind(model, "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))
    to_onnx(bound, tmp_path / "rows.onnx", traced)
    to_onnx(bound, tmp_path / "one.onnx", traced, one_image=True)
    asked = {
        "boxes": np.array([[3, 5, 50, 44], [30, 2, 90, 60], [0, 0, 0, 0]], np.float32),
        "class_ids": [1, -1, 2],
    }
    other = photographs(1, seed=9).float().numpy()
    same(
        load(tmp_path / "one.onnx")(other, **asked),
        repeated(tmp_path / "rows.onnx", other, **asked),
    )


BOX = np.zeros((128, 128), np.float32)
BOX[30:80, 40:90] = 1
CAPTION = [1, 3, 9, 15, 16, 3, 12, *[2] * 7]
ASKED = {
    "captioner": (
        {"tokens": [CAPTION] * 3, "span": [[2, 3], [6, 7], [-1, -1]]},
        {"tokens": CAPTION},
    ),
    "segmenter": ({"target": [5, -1, 0], "mask": np.stack([BOX] * 3)}, {"mask": BOX}),
}
"""What is asked, and what of it may be said once."""


@pytest.mark.parametrize("network", ["segmenter", *rare("captioner")])
@pytest.mark.everything
def test_other_tasks(network, tmp_path):
    """All words of a caption, and several regions, of one image that is looked at once."""
    loaded = load_model(f"demo:{network}")
    pictures = np.stack(
        [loaded.preprocess.apply(open_image(file))[0] for file in sorted(SAMPLES.glob("*.png"))[:3]]
    )
    bound = camport.bind(loaded.model, None, loaded.layer, loaded.adapter)
    for name, options in (("rows", {}), ("one", {"one_image": True})):
        to_onnx(bound, tmp_path / f"{name}.onnx", torch.from_numpy(pictures[:2]), **options)
    asked, once = ASKED[network]
    expected = repeated(tmp_path / "rows.onnx", pictures[2:], **asked)
    for said in (asked, {**asked, **once}):
        result = load(tmp_path / "one.onnx")(pictures[2:], **said)
        np.testing.assert_allclose(result.heatmap, expected.heatmap, atol=1e-5)
        np.testing.assert_allclose(result.gradients, expected.gradients, atol=1e-6)
    assert convolutions(tmp_path / "one.onnx") == convolutions(tmp_path / "rows.onnx")


@pytest.mark.everything
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_other_precisions(precision, tmp_path):
    bound = camport.bind(load_model("demo:gap-pool").model)
    found = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    options = {"precision": precision, "calibration": found if precision == "int8" else None}
    with quiet():
        to_onnx(bound, tmp_path / "rows.onnx", found[:2], **options)
        to_onnx(bound, tmp_path / "one.onnx", found[:2], one_image=True, **options)
    asked = found[5:6].numpy()
    expected = repeated(tmp_path / "rows.onnx", asked, target=[1, -1, 4])
    result = load(tmp_path / "one.onnx")(asked, target=[1, -1, 4])
    np.testing.assert_allclose(result.heatmap, expected.heatmap, atol=5e-3)
    np.testing.assert_allclose(result.score, expected.score, rtol=1e-2)


@pytest.mark.everything
def test_free_sizes(tmp_path):
    s = setting("gradcam++")
    bound = camport.bind(s.model.float(), "gradcam++", s.layer)
    to_onnx(bound, tmp_path / "rows.onnx", s.x[:2].float(), dynamic="batch+size")
    to_onnx(bound, tmp_path / "one.onnx", s.x[:2].float(), dynamic="batch+size", one_image=True)
    for size in ((14, 18), (30, 22)):
        other = images(1, size, torch.float32, seed=3).numpy()
        same(
            load(tmp_path / "one.onnx")(other, target=TARGET),
            repeated(tmp_path / "rows.onnx", other, target=TARGET),
        )


def test_a_wrong_file_is_refused(tmp_path, monkeypatch):
    """Places of a max-pooling count through the whole batch, so a row's are not the image's."""
    monkeypatch.setattr(
        one_image._Sharing, "_by_row", lambda self, value: self._sizes(value)[:1] == [self.label]
    )
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.MaxPool2d(3, 2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(5),
    ).eval()
    found = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model(found)
    with pytest.raises(ParityError, match="of the exported graph is"):
        to_onnx(camport.bind(model, layer="0"), tmp_path / "one.onnx", found, one_image=True)
    assert not list(tmp_path.iterdir())


def test_without_a_target_nothing_can_be_asked(tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 1),
    )
    bound = camport.bind(
        model.eval(), layer="0", adapter=FunctionAdapter(lambda outputs: outputs[:, 0])
    )
    with pytest.raises(ExportError, match="this one takes images and nothing else"):
        to_onnx(bound, tmp_path / "one.onnx", torch.rand(2, 3, 16, 16), one_image=True)


@pytest.mark.everything
def test_two_images_are_too_many(detector_files):
    folder, _, found = detector_files
    with pytest.raises(InputError, match="one image at a time, with any number of targets"):
        load(folder / "one.onnx")(torch.cat(found[:2]).numpy(), boxes=np.zeros((2, 4), np.float32))
    with pytest.raises(
        InputError, match=r"class_ids is int64 \[3\], 3 for 2 boxes: give one for all of them, or 2"
    ):
        load(folder / "one.onnx")(
            found[0].numpy(), boxes=np.zeros((2, 4), np.float32), class_ids=[1, 2, 3]
        )


class Picker(torch.nn.Module):
    """Classifies by the most telling places of each image,
    found by the image's number and the place's."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.tells, self.head = (
            torch.nn.Conv2d(3, 6, 3),
            torch.nn.Linear(6, 1),
            torch.nn.Linear(6, 5),
        )

    def forward(self, images):
        tokens = self.features(images).flatten(2).transpose(1, 2)
        places = self.tells(tokens)[..., 0].topk(4).indices
        numbers = torch.arange(images.shape[0], device=images.device)[:, None]
        return self.head(tokens[numbers, places].tanh().mean(1))


@pytest.mark.everything
def test_rows_that_are_found_by_their_number(tmp_path):
    bound = camport.bind(seeded(Picker().eval(), dtype=torch.float32), "hirescam", layer="features")
    to_onnx(bound, tmp_path / "rows.onnx", images(2, dtype=torch.float32))
    to_onnx(bound, tmp_path / "one.onnx", images(2, dtype=torch.float32), one_image=True)
    other = images(1, dtype=torch.float32, seed=8).numpy()
    same(
        load(tmp_path / "one.onnx")(other, target=TARGET),
        repeated(tmp_path / "rows.onnx", other, target=TARGET),
    )
