"""Captions, questions and segmentations on the command line,
and the examples of their pages as they are written."""

import shutil
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camport.cli import main
from tests.marks import rare
from tests.pages import ROOT, blocks, commands

SCENE = ROOT / "camport/demo/samples/four-seven.png"
SEVEN = ("--target", "seven", "--box", "95,48,127,95")
PAGES = {
    "captioner": "docs/captioning.md",
    "answerer": "docs/vqa.md",
    "segmenter": "docs/segmentation.md",
}


def picture(name: str) -> tuple[int, int]:
    with Image.open(name) as opened:
        return opened.size


@pytest.fixture(scope="module")
def file(shared) -> Callable[[str], Path]:
    """file(network): a shipped network, as its page's `camport export` writes it."""

    def of(network: str) -> Path:
        (command,) = (c for c in commands(PAGES[network]) if c[0] == "export")
        assert command[-2:] == ["-o", f"{network}.onnx"]

        def write(folder: Path) -> None:
            assert main([*command[:-1], str(folder / command[-1])]) == 0

        return shared(f"page-{network}", write)[0] / command[-1]

    return of


@pytest.mark.parametrize(
    ("name", "arguments", "said", "maps"),
    [
        ("captioner", (), "a four left of a seven", 6),
        ("captioner", ("--target", "seven"), "seven, ", 1),
        ("answerer", ("--question", "how many sevens?"), "1, score", 1),
        ("answerer", ("--question", "is there a two?", "--target", "yes"), "yes, score", 1),
        ("segmenter", ("--target", "seven"), "seven, score", 1),
        ("segmenter", ("--box", "0,0,128,128"), "score", 1),
    ],
)
def test_explain(camport, name, arguments, said, maps):
    done = camport("explain", SCENE, "-m", f"demo:{name}", *arguments, "-o", "out.png")
    assert done.status == 0, done.err
    assert said in done.out
    assert picture("out.png")[0] > 200
    assert camport("explain", SCENE, "-m", f"demo:{name}", *arguments, "-o", "out.npy").status == 0
    assert np.load("out.npy").shape[0] == maps


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        *rare(
            ("captioner", (), ("--caption", "a four left of a seven")),
            (
                "captioner",
                ("--target", "seven"),
                ("--caption", "a four left of a seven", "--target", "seven"),
            ),
            ("answerer", ("--question", "how many sevens?"), ("--question", "how many sevens?")),
        ),
        ("segmenter", ("--target", "seven"), ("--target", "seven")),
        ("segmenter", SEVEN, SEVEN),
    ],
)
def test_the_file_draws_what_pytorch_draws(camport, file, name, arguments, asked):
    assert (
        camport("explain", SCENE, "-m", f"demo:{name}", *arguments, "-o", "eager.npy").status == 0
    )
    done = camport("run", file(name), SCENE, *asked, "-o", "edge.npy")
    assert done.status == 0, done.err
    assert np.abs(np.load("eager.npy") - np.load("edge.npy")).max() < 1e-3
    assert camport("run", file(name), SCENE, *asked, "-o", "edge.png").status == 0
    assert picture("edge.png")[0] > 200


@pytest.mark.parametrize(
    ("match", "name", "arguments"),
    [
        (
            r"the caption 'a four left of a seven' has no word 'nine'; nearest: a, four",
            "captioner",
            ("--target", "nine"),
        ),
        (
            r"--question why\? is for --adapter vqa or vqa-words, and the task is captioning",
            "captioner",
            ("--question", "why?"),
        ),
        (
            r"--box 0,0,9,9 is for --adapter detection or segmentation, and the task is captioning",
            "captioner",
            ("--box", "0,0,9,9"),
        ),
        (r"the question is empty; ask one", "answerer", ()),
        (r"the question is empty; ask one", "answerer", ("--question", " ?")),
        (
            r"the question has the word 'sevns', which is not known; nearest: sevens",
            "answerer",
            ("--question", "sevns"),
        ),
        (
            r"the question has 5 tokens; at most 4 are read",
            "answerer",
            ("--question", "is there a two seven"),
        ),
        (
            r"unknown label 'tow'; did you mean 'two'",
            "answerer",
            ("--question", "how many sevens", "--target", "tow"),
        ),
        (
            r"answer 18 is out of range: the model has 18 answers",
            "answerer",
            ("--question", "sevens", "--target", "18"),
        ),
        (r"the model predicts class 3 nowhere in image 0", "segmenter", ("--target", "two")),
        (r"class 11 is out of range: the model has 11 classes", "segmenter", ("--target", "11")),
        (r"--box .*one region", "segmenter", ("--box", "0,0,9,9", "--box", "0,0,9,9")),
    ],
)
def test_what_explain_refuses(refused, match, name, arguments):
    refused(match, "explain", SCENE, "-m", f"demo:{name}", *arguments, "-o", "out.png")


@pytest.mark.parametrize(
    ("match", "name", "arguments"),
    [
        *rare(
            (r"the file explains words of a caption or an answer; give it", "captioner", ()),
            (
                r"the caption has the word 'cat', which the model does not know",
                "captioner",
                ("--caption", "a cat"),
            ),
            (r"has \d+ words; the file reads \d+", "captioner", ("--caption", "a " * 40)),
            (r"has no word 'nine'", "captioner", ("--caption", "a four", "--target", "nine")),
            (
                r"--question why\? is for files of vqa or vqa-words, and this one is of captioning",
                "captioner",
                ("--question", "why?"),
            ),
            (r"the question is empty; ask one", "answerer", ("--question", "?")),
            (
                r"the question has the word 'sevns'.*'sevens'",
                "answerer",
                ("--question", "how many sevns"),
            ),
            (
                r"unknown label 'tow'; did you mean 'two'",
                "answerer",
                ("--question", "how many sevens", "--target", "tow"),
            ),
            (
                r"answer 18 of image 0 is out of range",
                "answerer",
                ("--question", "how many sevens", "--target", "18"),
            ),
        ),
        (r"target 11 of image 0 is out of range", "segmenter", ("--target", "11")),
    ],
)
def test_what_run_refuses(refused, file, match, name, arguments):
    refused(match, "run", file(name), SCENE, *arguments, "-o", "out.png")


class Tiny(torch.nn.Module):
    """What `torchvision:deeplabv3_resnet50` is called here: the same parts on few channels,
    and it sees cats."""

    def __new__(cls):
        from torchvision.models._utils import IntermediateLayerGetter
        from torchvision.models.resnet import BasicBlock, ResNet
        from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

        backbone = IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), {"layer4": "out"})
        model = DeepLabV3(backbone, DeepLabHead(512, 21, (2, 4)))
        torch.nn.init.constant_(model.classifier[-1].bias, 0)
        model.classifier[-1].bias.data[8] = 5
        return model


@pytest.fixture
def page(camport, tmp_path, monkeypatch):
    """A folder with what the pages speak of, and no network that would have to be downloaded."""
    from torchvision import models

    load = models.get_model
    monkeypatch.setattr(
        models,
        "get_model",
        lambda name, **options: Tiny() if "deeplab" in name else load(name, **options),
    )
    shutil.copy(SCENE, tmp_path / "scene.png")
    Image.open(SCENE).resize((320, 240)).save(tmp_path / "cat.jpg")
    return camport


@pytest.mark.parametrize("network", [*rare("captioner", "answerer"), "segmenter"])
def test_commands_of_the_pages(page, file, network, tmp_path):
    shutil.copy(file(network), tmp_path)
    for command in commands(PAGES[network]):
        if command[0] == "export":
            continue  # the file is there: its fixture ran this
        done = page(*command)
        assert done.status == 0, (command, done.err)
        assert (tmp_path / command[command.index("-o") + 1]).stat().st_size > 10_000


def stand_ins(block: str) -> dict:
    """The `model` and `processor` of a block about models that one would download,
    and images for them."""
    from tests.adapters import speakers

    if "model.generate" in block:
        model, pixels = speakers.vit_gpt2(), torch.rand(2, 3, speakers.SIDE, speakers.SIDE)
    elif "config.id2label" in block:
        model, pixels = speakers.vilt(), torch.rand(1, 3, speakers.SIDE, speakers.SIDE)
        model.config.id2label = dict(enumerate("0123456"))
    else:
        return {}

    class Tokenizer:
        def __call__(self, text, return_tensors):
            return types.SimpleNamespace(input_ids=torch.tensor([[3, 4, 5]]))

        def convert_ids_to_tokens(self, ids):
            return ["Ġcat" if int(i) > 2 else "<s>" for i in ids]

    return {
        "model": model.eval(),
        "processor": types.SimpleNamespace(tokenizer=Tokenizer()),
        "images": pixels,
    }


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")  # of random weights
@pytest.mark.parametrize("network", [*rare("captioner", "answerer"), "segmenter"])
@pytest.mark.usefixtures("page")
def test_python_of_the_pages(file, network, tmp_path):
    pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
    torch.manual_seed(0)
    known: dict = {}
    shutil.copy(file(network), tmp_path)
    for block in blocks(PAGES[network], "python"):
        known |= stand_ins(block)
        exec(compile(block, PAGES[network], "exec"), known)
    assert hasattr(known["found"], "caption" if network == "captioner" else "target")
