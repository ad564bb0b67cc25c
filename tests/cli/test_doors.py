"""Whatever a file holds, the command line answers in one line: bad input is status 2,
a fault of its own 70."""

import json
import os
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from camport.cli import explain as explain_command
from camport.cli import main
from camport.cli.printing import printable
from camport.runtime import open_image
from tests.cli.conftest import fresh
from tests.marks import rare

DIGITS = ("-m", "demo:gap-pool", "-o", "out.png")


def changed(exported, path, **metadata):
    """The exported file with other metadata."""
    model = onnx.load(exported)
    for key, text in metadata.items():
        kept = [entry for entry in model.metadata_props if entry.key != f"camport.{key}"]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        model.metadata_props.add(key=f"camport.{key}", value=text)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("where", ["image", "labels", "weights", "file", "model"])
def test_a_pipe_is_refused_at_once(refused, photo, exported, tmp_path, where):
    os.mkfifo(tmp_path / "pipe.onnx")
    pipe = tmp_path / "pipe.onnx"
    match = (
        "pipe.onnx (is|are) (a pipe, a socket or a device; save it as a file first|no regular"
        " file|no file)"
    )
    if where == "image":
        refused(match, "explain", pipe, *DIGITS)
        refused(match, "run", exported, pipe, "-o", "out.png")
    elif where in ("labels", "weights"):
        refused(match, "explain", photo, *DIGITS, f"--{where}", pipe)
    elif where == "file":
        refused(match, "run", pipe, photo, "-o", "out.png")
    else:
        refused(match, "explain", photo, "-m", pipe, "-o", "out.png")


def test_labels_without_end_are_refused(refused, photo, tmp_path):
    refused(
        "labels /dev/zero is a pipe, a socket or a device",
        "explain",
        photo,
        *DIGITS,
        "--labels",
        "/dev/zero",
    )
    (tmp_path / "large.txt").write_bytes(b"x\n" * 2**22)
    refused(
        "labels large.txt has 8388608 bytes; at most 4194304",
        "explain",
        photo,
        *DIGITS,
        "--labels",
        "large.txt",
    )
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    refused(
        "labels latin.txt cannot be read.*save it as UTF-8",
        "explain",
        photo,
        *DIGITS,
        "--labels",
        "latin.txt",
    )


@pytest.mark.parametrize(
    ("match", "metadata"),
    [
        ("its metadata cannot be read: RecursionError.*export it again", {"method": "[" * 100_000}),
        ("its metadata cannot be read: RecursionError", {"anything": '{"a":' * 50_000}),
        ("RecursionError.*export it again", {"preprocess": "[" * 100_000}),
        (
            "adapter: options must be an object; it is 3",
            {"adapter": '{"name": "vqa", "options": 3}'},
        ),
        ("adapter: name must be a text", {"adapter": '{"name": {"a": 1}, "options": {}}'}),
        (
            r"vocabulary must be a list of texts; it is \{'a': 1\}",
            {"adapter": '{"name": "vqa", "options": {"vocabulary": {"a": 1}}}'},
        ),
        (
            "takes no question .b,n. of a fixed length",
            {"adapter": '{"name": "vqa", "options": {"vocabulary": ["a"]}}'},
        ),
        ("std is .*above 0, at least 1e-30", {"preprocess": '{"std": [1e-300, 1, 1]}'}),
        ("preprocess.*OverflowError", {"preprocess": f'{{"mean": [{"9" * 400}, 1, 1]}}'}),
        ("mean .*not finite in float32", {"preprocess": '{"mean": [1e300, 1, 1]}'}),
        ("resize is -5; it must be at least 1", {"preprocess": '{"size": [64, 64], "resize": -5}'}),
    ],
)
def test_metadata_of_a_foreign_file(refused, exported, photo, tmp_path, match, metadata):
    changed(exported, tmp_path / "odd.onnx", **metadata)
    extra = ("--question", "a") if "vqa" in str(metadata) else ()
    refused(match, "run", "odd.onnx", photo, "-o", "out.png", *extra)


def test_metadata_that_is_no_text(refused, exported, photo, tmp_path):
    content = exported.read_bytes()
    at = content.index(b"camport.layer") + 18
    (tmp_path / "odd.onnx").write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    refused("odd.onnx", "run", "odd.onnx", photo, "-o", "out.png")
    refused("odd.onnx", "explain", photo, "-m", "odd.onnx", "-o", "out.png")


@pytest.mark.parametrize(
    ("shape", "kind", "match"),
    [
        (
            (),
            "float32",
            r"heatmap is float32 \[\].*; an explanation has floating-point numbers \[b,H,W\]",
        ),
        ((1, 0, 4), "float32", r"heatmap is float32 \[1,0,4\]"),
        ((1, 64, 64), "int64", r"heatmap is int64 \[1,64,64\]"),
        ((1, 64, 64), "seventy", r"heatmap lies in \[71, 71\] and not in \[0,1\]"),
    ],
)
def test_a_heatmap_that_is_none(refused, exported, photo, tmp_path, shape, kind, match):
    model = onnx.load(exported)
    value = np.full(shape, 71, "float32") if kind == "seventy" else np.zeros(shape, kind)
    for node in model.graph.node:
        node.output[:] = ["own" if name == "heatmap" else name for name in node.output]
    model.graph.node.append(
        onnx.helper.make_node(
            "Constant", [], ["heatmap"], value=onnx.numpy_helper.from_array(value)
        )
    )
    kept = [port for port in model.graph.output if port.name != "heatmap"]
    del model.graph.output[:]
    model.graph.output.extend(
        [
            *kept,
            onnx.helper.make_tensor_value_info(
                "heatmap", onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None
            ),
        ]
    )
    onnx.save(model, tmp_path / "odd.onnx")
    refused(match, "run", "odd.onnx", photo, "-o", "out.npz")


@pytest.mark.parametrize("kind", ["sparse", "meta", "numbers for names", "complex"])
def test_weights_of_odd_kinds(refused, photo, tmp_path, kind):
    from camport.demo.networks import load

    state = load("gap-pool").state_dict()
    name = "features.0.weight"
    matches = {
        "sparse": "weights odd.pt( cannot be read|: .* is sparse)",
        "meta": f"weights odd.pt: '{name}' is on the meta device",
        "numbers for names": "weights odd.pt have the key 3, which is no name",
        "complex": f"{name} is torch.complex64, the model's is real",
    }
    if kind == "numbers for names":
        state[3] = state.pop(name)
    else:
        turned = {"sparse": "to_sparse", "complex": "cfloat"}
        state[name] = (
            state[name].to("meta") if kind == "meta" else getattr(state[name], turned[kind])()
        )
    torch.save(dict(state), tmp_path / "odd.pt")
    refused(matches[kind], "explain", photo, *DIGITS, "--weights", "odd.pt")


def test_labels_do_not_control_the_terminal(camport, exported, photo, tmp_path):
    evil = "\x1b]0;owned\x07seven\u202e\n\x9b2J"
    changed(
        exported,
        tmp_path / "evil.onnx",
        labels=json.dumps([evil] * 10),
        method='{"name": "[/red]\\u001b[2J"}',
    )
    done = camport("run", "evil.onnx", photo, "-o", "out.png")
    assert done.status == 0, done
    assert r"\x1b]0;owned\x07seven\u202e\n\x9b2J" in done.out
    assert not set("\x1b\x07\x9b\u202e") & set(done.out + done.err)
    (tmp_path / "labels.txt").write_text("\x1b[2Ja\n" * 10)
    done = camport("explain", photo, *DIGITS, "--labels", "labels.txt")
    assert r"\x1b[2Ja (" in done.out


def test_what_is_printable():
    assert printable("zwölf 三 \u05d0\u200d") == "zwölf 三 \u05d0\u200d"
    assert printable("a\tb\r\n\x00\u2028") == r"a\tb\r\n\x00\u2028"
    assert printable(os.fsdecode(b"ph\xff.png")) == r"ph\xff.png"


def test_a_title_of_any_length_is_drawn(camport, exported, photo, tmp_path):
    changed(
        exported,
        tmp_path / "long.onnx",
        method=json.dumps({"name": "x" * 50_000}),
        labels='["%s"]' % ("y" * 10**6),
    )
    assert camport("run", "long.onnx", photo, "--target", "0", "-o", "out.png").status == 0


def test_names_that_are_no_utf8(camport, exported, photo, tmp_path):
    odd = os.fsdecode(b"ph\xff.png")
    (tmp_path / odd).write_bytes(photo.read_bytes())
    done = camport("run", exported, odd, "-o", os.fsdecode(b"o\xff.png"))
    assert (done.status, done.err) == (0, "")
    assert r"ph\xff.png: " in done.out
    assert r"wrote o\xff.png" in done.out
    assert os.fsdecode(b"o\xff.png") in os.listdir(tmp_path)
    done = camport("export", "-m", "demo:gap-pool", "-o", os.fsdecode(b"o\xff.onnx"))
    assert done.status == 2
    assert r"o\xff.onnx cannot be written: its name is no UTF-8" in done.err


FULL = (
    "import sys; sys.stdout = open('/dev/full', 'w'); from camport.cli import main;"
    " sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize("arguments", [*rare((("methods", "gradcam"),)), ("--help",)])
def test_a_full_standard_output(arguments):
    done = fresh(FULL, *arguments)
    assert done.status == 2
    assert (
        done.err == "camport: error: standard output cannot be written: No space left on device\n"
    )


def test_an_ascii_terminal_and_none(photo):
    code = "import sys; from camport.cli.printing import outputs, say\nwith outputs(): say('zwölf')"
    assert fresh(code, PYTHONIOENCODING="ascii").out == "zw\\xf6lf\n"
    closed = f"import sys; sys.stdout = None; sys.stderr = None\n{code}"
    assert fresh(closed).status == 0


def test_an_unforeseen_error_is_one_line_and_status_70(camport, photo, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError("never\nthought of")

    monkeypatch.setattr(explain_command, "check_writable", fails)
    done = camport("explain", photo, *DIGITS)
    assert done.status == 70
    assert done.err.startswith(
        "camport: internal error: ZeroDivisionError: never thought of; this is a fault"
    )
    assert done.err.count("\n") == 1
    monkeypatch.setenv("CAMPORT_DEBUG", "1")
    done = camport("explain", photo, *DIGITS)
    assert "Traceback (most recent call last)" in done.err
    assert ", in fails" in done.err


def test_a_module_that_ends_the_process(refused, photo, tmp_path):
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(0)\n")
    refused(
        "module 'ends' failed to import: SystemExit",
        "explain",
        photo,
        "-m",
        "ends:make",
        "-o",
        "out.png",
    )


def test_pictures_are_opened_one_at_a_time(camport, exported, photo, monkeypatch, tmp_path):
    open_, most, alive = [0], [0], []

    def counted(path):
        picture = open_image(path)
        open_[0] += 1
        import weakref

        alive.append(weakref.ref(picture))
        most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return picture

    # drawn reduced, so that the opened one is let go
    Image.new("RGB", (2100, 8)).save(tmp_path / "long.png")
    monkeypatch.setattr(sys.modules["camport.cli.folders"], "open_image", counted)
    done = camport("run", exported, *["long.png"] * 4, "-o", "out.png")
    assert (done.status, open_[0]) == (0, 4), done
    assert most[0] <= 2  # the new one while the last is let go


def test_a_large_picture_is_drawn_at_a_bounded_size():
    from camport.cli.shown import LARGEST, bounded
    from camport.runtime import Preprocess

    picture = Image.linear_gradient("L").resize((6000, 3000)).convert("RGB")
    _, placement = Preprocess(size=(32, 64)).apply(picture)
    small, placed = bounded(picture, placement)
    assert small.size == (LARGEST, LARGEST // 2)
    heat = np.linspace(0, 1, 32 * 64, dtype=np.float32).reshape(32, 64)
    full = placement.to_image(heat)
    rows, columns = (np.arange(n) * 6000 // LARGEST for n in (LARGEST // 2, LARGEST))
    np.testing.assert_allclose(placed.to_image(heat), full[np.ix_(rows, columns)], atol=0.01)


def test_a_picture_starts_no_program(tmp_path):
    (tmp_path / "cat.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(Exception, match=r"cat\.png is not an image of PNG, JPEG"):
        open_image(tmp_path / "cat.png")


def test_an_archive_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((3, 2000, 2000)))
    monkeypatch.setattr("camport.runtime.bands.LARGEST", 10**7)
    with pytest.raises(
        Exception, match=r"bomb\.npz holds 96000128 bytes of arrays; at most 10000000"
    ):
        open_image(tmp_path / "bomb.npz")


def test_numbers_are_pythons_no_more(refused, photo):
    for text in ("1_0", "٣"):
        refused(f"unknown label '{text}'", "explain", photo, *DIGITS, "--target", text)
    assert main(["methods", "gradcam"]) == 0
