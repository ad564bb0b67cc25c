"""`camport explain` by several methods, for several classes, of folders;
options of methods and adapters."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import camport as package
from camport.models import load_model
from camport.plugins import RISE
from camport.runtime import open_image
from tests.cli.conftest import listing
from tests.marks import rare
from tests.pages import ROOT

TWO = ["--method", "gradcam", "--method", "cam"]


@pytest.fixture
def folder(tmp_path, photo):
    place = tmp_path / "photos"
    place.mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64 + i, 64)).save(place / f"{i}.png")
    (place / "notes.txt").write_text("no image")
    return place


def size(path):
    with Image.open(path) as picture:
        return picture.size


def test_several_methods_are_columns_and_classes_rows(camport, photo, tmp_path):
    command = ["explain", photo, "-m", "demo:digits", "--target", "seven", "--target", "2"]
    done = camport(*command, "--method", "gradcam", "--method", "layercam", "-o", "two.png")
    assert done.status == 0, done.err
    said = re.findall(r"photo.png: (\w+), (\w+) \(\d\), score", done.out)
    assert said == [
        ("gradcam", "seven"),
        ("layercam", "seven"),
        ("gradcam", "two"),
        ("layercam", "two"),
    ]
    assert (
        camport(*command[:5], "7", "--method", "gradcam", "--method", "cam", "-o", "one.png").status
        == 0
    )
    assert size("two.png")[1] > size("one.png")[1] + 100
    assert size("two.png")[0] > 3 * 200


def test_a_report(camport, photo, tmp_path):
    done = camport(
        "explain",
        photo,
        "-m",
        "demo:digits",
        "--method",
        "gradcam",
        "--method",
        "cam",
        "-o",
        "r.html",
    )
    assert done.status == 0, done.err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert "<h2>photo.png</h2>" in page
    assert re.search(r"<h1>Grad-CAM, CAM of demo:digits at layer3</h1>", page)
    # one method too
    assert camport("explain", photo, "-m", "demo:digits", "-o", "one.html").status == 0
    assert (tmp_path / "one.html").read_text(encoding="utf-8").count("<figure>") == 1


def test_options_of_the_method(camport, photo, tmp_path):
    loaded = load_model("demo:gap-pool")
    pixels, _ = loaded.preprocess.apply(open_image(photo))
    images = __import__("torch").from_numpy(pixels)[None]
    for arguments in (
        ["--method", "rise(samples=20, seed=3)"],
        ["--method", "rise", "--option", "samples=20", "--option", "seed=3"],
    ):
        done = camport("explain", photo, "-m", "demo:gap-pool", *arguments, "-o", "out.npz")
        assert done.status == 0, done.err
        expected = package.explain(loaded.model, images, RISE(samples=20, seed=3))
        with np.load(tmp_path / "out.npz") as found:
            np.testing.assert_allclose(found["raw"], expected.raw.numpy(), atol=1e-6)


def test_a_method_twice_has_two_columns(camport, photo, tmp_path):
    """With other options it is another map, told apart by them."""
    twice = ("--method", "rise(samples=4)", "--method", "rise(samples=8)")
    done = camport("explain", photo, "-m", "demo:gap-pool", *twice, "-o", "r.html")
    assert done.status == 0, done.err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    heads = re.findall(r'<th scope="col" data-method="\d">(.*?)</th>', page)
    assert [re.sub(r"\(.*?samples=(\d).*", r" \1", head) for head in heads] == [
        "RISE 1: RISE 4",
        "RISE 2: RISE 8",
    ]
    assert camport("explain", photo, "-m", "demo:gap-pool", *twice, "-o", "two.png").status == 0
    assert size(tmp_path / "two.png")[0] > 3 * 240


def test_options_of_the_adapter(camport, photo, tmp_path):
    score = {}
    for name in ("logit", "probability"):
        done = camport(
            "explain",
            photo,
            "-m",
            "demo:digits",
            "--adapter-option",
            f"score_as={name}",
            "-o",
            "out.npz",
        )
        assert done.status == 0, done.err
        with np.load(tmp_path / "out.npz") as found:
            score[name] = float(found["score"][0])
    assert score["logit"] < 0 < score["probability"] < 1


def test_all_leaves_out_what_does_not_fit(camport, photo, monkeypatch):
    from camport.core import registry

    few = {name: registry.methods()[name] for name in ("gradcam", "legrad", "cam")}
    monkeypatch.setattr(registry, "methods", lambda: few)
    done = camport("explain", photo, "-m", "demo:digits", "--method", "all", "-o", "all.png")
    assert done.status == 0, done.err
    assert re.findall(r": (\w+), ", done.out) == ["gradcam", "cam"]
    assert "note: legrad is left out: DigitResNet has no attention" in done.err


def test_a_folder_in_and_a_folder_out(camport, folder, tmp_path):
    done = camport("explain", folder, "-m", "demo:gap-pool", "-o", "out")
    assert done.status == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".camport.json",
        "0.png",
        "1.png",
        "2.png",
    ]
    (tmp_path / "out/1.png").unlink()
    before = listing(tmp_path / "out")
    again = camport("explain", folder, "-m", "demo:gap-pool", "-o", "out")
    assert "2 of 3 images have their picture in out already" in again.out
    assert "explaining 1 image with demo:gap-pool" in again.out
    after = listing(tmp_path / "out")
    pictures = [path for path in before if path.endswith(".png")]
    assert {path: after[path] for path in pictures} == {path: before[path] for path in pictures}
    assert (tmp_path / "out/1.png").is_file()
    third = camport("explain", folder, "-m", "demo:gap-pool", "-o", "out")
    told = "3 of 3 images have their picture in out already\n"
    assert (third.status, third.out, third.err) == (0, told, "")
    assert listing(tmp_path / "out") == after


def test_pictures_that_answer_something_else_are_not_gone_on_from(
    camport, refused, folder, tmp_path
):
    command = ["explain", folder, "-m", "demo:gap-pool", "-o", "out"]
    assert camport(*command, "--method", "gradcam").status == 0
    (tmp_path / "out/1.png").unlink()
    match = (
        "2 of 3 images have their picture in out already, of another method, target; name another"
        " folder"
    )
    refused(match, *command, "--method", "saliency", "--target", "3")
    (tmp_path / "out/.camport.json").unlink()
    refused("already, and nothing says what they answer", *command, "--method", "gradcam")
    # they are the images
    refused("3 of 3 images have their picture in photos already", *command[:-1], "photos")


def test_a_folder_is_not_made_for_what_is_refused(refused, folder):
    refused(
        "unknown method 'gradcan'",
        "explain",
        folder,
        "-m",
        "demo:gap-pool",
        "--method",
        "gradcan",
        "-o",
        "out",
    )


@pytest.mark.parametrize("methods", [[], TWO])
def test_a_folders_model_is_bound_once(camport, folder, monkeypatch, methods):
    bound, bind = [], package.bind
    monkeypatch.setattr(
        package, "bind", lambda *given, **options: bound.append(1) or bind(*given, **options)
    )
    assert camport("explain", folder, "-m", "demo:gap-pool", *methods, "-o", "out").status == 0
    assert len(bound) == max(1, len(methods) // 2)


def test_a_folder_in_one_picture(camport, folder, tmp_path):
    done = camport("explain", folder, "-m", "demo:gap-pool", "-o", "all.png")
    assert done.status == 0, done.err
    assert done.out.count("score") == 3


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        (
            "several methods are drawn; what can be written is .html",
            ["--method", "gradcam", "--method", "cam", "-o", "x.npz"],
        ),
        ("unknown method 'gradcan'", ["--method", "gradcan", "--method", "cam", "-o", "x.png"]),
        (
            "--option steps: gradcam has no such option; there is: none|there is:",
            ["--method", "gradcam", "--option", "steps=3", "-o", "x.png"],
        ),
        (
            "--option groups: write NAME=VALUE",
            ["--method", "groupcam", "--option", "groups", "-o", "x.png"],
        ),
        ("is for a method; name it by --method", ["--option", "groups=3", "-o", "x.png"]),
        (
            "--adapter-option colour: classification has no such option",
            ["--adapter-option", "colour=red", "-o", "x.png"],
        ),
        ("--view and --sweep draw one method", [*TWO, "--sweep", "-o", "x.png"]),
    ],
)
def test_refused(refused, photo, match, arguments):
    refused(match, "explain", photo, "-m", "demo:gap-pool", *arguments)


SCENE = ROOT / "camport/demo/samples/four-seven.png"


@pytest.mark.parametrize(
    ("name", "arguments", "rows"),
    [
        ("detector", (), ["four", "seven"]),
        ("detector", ("--target", "seven"), ["seven"]),
        ("captioner", ("--target", "seven"), ["seven"]),
        *rare(("captioner", (), ["a", "four", "left", "of", "a", "seven"])),
        ("answerer", ("--question", "how many sevens?"), ["how many sevens?"]),
        ("segmenter", ("--target", "box=95,48,127,95"), [""]),
    ],
)
def test_several_methods_of_any_task(camport, name, arguments, rows):
    """Each row is what one method alone explains, and each map is that method's own."""
    methods = ("--method", "layercam", "--method", "hirescam")
    model = ("-m", f"demo:{name}", *arguments)
    done = camport("explain", SCENE, *model, *methods, "--json", "-o", "both.png")
    assert done.status == 0, done.err
    said = [json.loads(line) for line in done.out.splitlines()]
    assert [one["method"] for one in said] == ["layercam", "hirescam"] * len(rows)
    for i, text in enumerate(rows):
        asked = [one.get("asked", "") or one["label"] for one in said[2 * i : 2 * i + 2]]
        assert all(text in one for one in asked), asked
    done = camport("explain", SCENE, *model, "--method", "hirescam", "-o", "one.npz")
    alone = np.atleast_1d(np.load("one.npz")["score"])
    assert [one["score"] for one in said[1::2]] == pytest.approx(list(alone), abs=1e-3)
    assert camport("explain", SCENE, *model, *methods, "-o", "both.html").status == 0
    assert Path("both.html").read_text().count("<figure>") == 2 * len(rows)
    with Image.open("both.png") as drawn:
        assert drawn.size[1] > 200 * len(rows)


def test_two_images_of_one_name(refused, folder, tmp_path):
    (tmp_path / "other").mkdir()
    Image.open(folder / "0.png").save(tmp_path / "other/0.jpg")
    refused(
        "would both be written to",
        "explain",
        folder,
        tmp_path / "other",
        "-m",
        "demo:gap-pool",
        "-o",
        "out",
    )


def test_a_file_takes_a_folder_and_gives_one(camport, folder, tmp_path):
    """Each picture is what the file draws of that image alone; what is there is not made again."""
    assert camport("export", "-m", "demo:digits", "-o", "digits.onnx").status == 0
    done = camport("run", "digits.onnx", folder, "-o", "out")
    assert done.status == 0, done.err
    assert sorted(p.name for p in Path("out").glob("*.png")) == ["0.png", "1.png", "2.png"]
    assert camport("run", "digits.onnx", folder / "1.png", "-o", "one.png").status == 0
    assert Path("one.png").read_bytes() == Path("out/1.png").read_bytes()
    Path("out/2.png").unlink()
    before = Path("out/0.png").stat().st_mtime_ns
    done = camport("run", "digits.onnx", folder, "-o", "out")
    assert "2 of 3 images have their picture in out already" in done.out
    assert Path("out/2.png").exists()
    assert Path("out/0.png").stat().st_mtime_ns == before
    done = camport("run", "digits.onnx", folder, "-o", "out", "--target", "seven")
    assert done.status == 2
    assert "of another target; name another folder" in done.err


@pytest.mark.filterwarnings("always")
def test_a_warning_names_the_image(camport, folder, tmp_path):
    """Of several images, and not of one, which is the only one that it can be about."""
    assert camport("export", "-m", "demo:digits", "-o", "digits.onnx").status == 0
    black = folder / "1.png"
    Image.new("RGB", (64, 64)).save(black)
    model = onnx.load("digits.onnx")
    for entry in model.metadata_props:
        if entry.key == "camport.preprocess":
            entry.value = '{"size": [128, 128]}'  # says nothing of pixels: a DoubtWarning each
    onnx.save(model, "silent.onnx")
    done = camport("run", "silent.onnx", black, folder / "2.png", "-o", "two.png")
    assert f"camport: DoubtWarning: {black}: the file does not say" in done.err
    done = camport("run", "silent.onnx", black, "-o", "one.png")
    assert "camport: DoubtWarning: the file does not say" in done.err
