"""`camport web` writes a whole site or none, out of onnxruntime-web's files that it is given or
that npm brings."""

import json
import re
import shutil
import stat
import subprocess
import sys

import pytest
import torch

import camport as library
from camport import export
from camport.web import PAGE, engine
from camport.web.site import SCENES
from tests.cli.conftest import listing

LOADED = "ort-wasm-simd-threaded"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A classifier's file."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    file = tmp_path_factory.mktemp("exported") / "small.onnx"
    export.to_onnx(library.bind(model.eval(), "gradcam", layer="1"), file, torch.rand(1, 3, 8, 8))
    return file


@pytest.fixture
def dist(tmp_path):
    """onnxruntime-web's package as far as it matters: entries that name loaders,
    code beside these."""
    folder = tmp_path / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for entry, loaded in (
        ("ort.wasm.min.mjs", LOADED),
        ("ort.webgpu.min.mjs", f"{LOADED}.asyncify"),
    ):
        (folder / entry).write_text(f'const a="{loaded}.mjs",b="ort-wasm-none.txt";')
        (folder / f"{loaded}.mjs").write_text("loader of " + loaded)
        (folder / f"{loaded}.wasm").write_bytes(b"\0asm" + loaded.encode())
    (folder / "ort.all.mjs").write_text("not needed")
    return folder


NEEDED = sorted(
    ["ort.wasm.min.mjs", "ort.webgpu.min.mjs"]
    + [f"{LOADED}{kind}{suffix}" for kind in ("", ".asyncify") for suffix in (".mjs", ".wasm")]
)


def test_the_site_has_all_that_it_runs(camport, exported, dist, tmp_path):
    done = camport("web", exported, "-o", "site", "--runtime", dist)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(
        "wrote site; show it with: python -m http.server --bind 127.0.0.1 -d site 8000\n"
    )
    site = tmp_path / "site"
    assert sorted(path.name for path in (site / "engine").iterdir()) == NEEDED
    assert all(
        (site / "engine" / name).read_bytes() == (dist / name).read_bytes() for name in NEEDED
    )
    assert (site / "files/small.onnx").read_bytes() == exported.read_bytes()
    scenes = json.loads((SCENES / "samples.json").read_text())
    listed = json.loads((site / "site.json").read_text())
    assert listed["files"] == ["small.onnx"]
    assert listed["samples"] == [{"file": s["file"], "caption": s["caption"]} for s in scenes]
    assert listed["engines"] == ["ort.wasm.min.mjs", "ort.webgpu.min.mjs"]
    assert all(
        (site / "samples" / scene["file"]).read_bytes() == (SCENES / scene["file"]).read_bytes()
        for scene in scenes
    )
    assert {path.name for path in PAGE.iterdir() if path.is_file()} < {
        path.name for path in site.iterdir()
    }
    assert stat.S_IMODE(site.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".camport-")] == []


def test_the_package_folder_will_do_and_webgpu_may_lack(camport, exported, dist, tmp_path):
    (dist / f"{LOADED}.asyncify.wasm").unlink()
    assert camport("web", exported, "-o", "site", "--runtime", dist.parent).status == 0
    assert json.loads((tmp_path / "site/site.json").read_text())["engines"] == ["ort.wasm.min.mjs"]
    assert sorted(path.name for path in (tmp_path / "site/engine").iterdir()) == [
        f"{LOADED}.mjs",
        f"{LOADED}.wasm",
        "ort.wasm.min.mjs",
    ]


def test_pictures_of_ones_own(camport, exported, dist, tmp_path):
    shutil.copy(SCENES / "zero-nine.png", tmp_path / "<b>mine.png")
    assert (
        camport("web", exported, "-o", "site", "--runtime", dist, "--sample", "<b>mine.png").status
        == 0
    )
    listed = json.loads((tmp_path / "site/site.json").read_text())["samples"]
    assert listed == [{"file": "<b>mine.png", "caption": "<b>mine"}]


def test_what_lies_in_the_folder_stays(camport, refused, exported, dist, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    assert camport("web", exported, "-o", "site", "--runtime", dist).status == 0  # it was empty
    (site / "mine.txt").write_text("mine")
    (site / "page.css").write_text("old")
    before = listing(site)
    refused(
        r"site is not empty; name another folder, or --force",
        "web",
        exported,
        "-o",
        "site",
        "--runtime",
        dist,
    )
    assert listing(site) == before
    assert camport("web", exported, "-o", "site", "--runtime", dist, "--force").status == 0
    assert (site / "mine.txt").read_text() == "mine"
    assert (site / "page.css").read_bytes() == (PAGE / "page.css").read_bytes()


def test_wrong_input(refused, exported, dist, tmp_path):
    def wrong(match, *arguments):
        refused(match, "web", *arguments)
        assert not (tmp_path / "site").exists()

    with_engine = ("-o", "site", "--runtime", dist)
    (tmp_path / "no.onnx").write_bytes(b"none")
    (tmp_path / "page.txt").write_text("x")
    wrong(r"no\.onnx", "no.onnx", *with_engine)
    wrong(r"nothere\.onnx", "nothere.onnx", *with_engine)
    wrong(r"page\.txt", exported, "--sample", "page.txt", *with_engine)
    wrong(r"two files are called small\.onnx", exported, exported, *with_engine)
    wrong(r"directory .* does not exist", exported, "-o", "none/site", "--runtime", dist)
    wrong(r"page\.txt is a file; name a folder", exported, "-o", "page.txt", "--runtime", dist)
    shutil.copy(exported, tmp_path / "large.onnx")
    (tmp_path / "large.onnx.data").write_bytes(b"")
    wrong(r"large\.onnx has its weights in large\.onnx\.data", "large.onnx", *with_engine)
    wrong(r"none is not onnxruntime-web's dist: it lacks ort\.wasm\.min\.mjs; npm install", exported, "-o", "site",
          "--runtime", "none")  # fmt: skip
    (dist / f"{LOADED}.wasm").unlink()
    wrong(rf"it lacks {LOADED}\.wasm", exported, *with_engine)


def test_without_npm_the_remedy_is_named(refused, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda name: None)
    refused(r"npm, which is not installed: install Node\.js, or name a folder .*--runtime FOLDER", "web", exported,
            "-o", "site")  # fmt: skip
    assert not (tmp_path / "site").exists()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm of our own: a Python program, whose text is given."""

    def install(program):
        script = tmp_path / "npm.py"
        script.write_text(f"import sys\n{program}")
        run = subprocess.run
        monkeypatch.setattr(engine.shutil, "which", lambda name: "npm")
        monkeypatch.setattr(
            engine.subprocess,
            "run",
            lambda command, **how: run([sys.executable, str(script), *command[1:]], **how),
        )

    return install


def test_npm_brings_the_package(camport, exported, dist, npm, tmp_path):
    npm(
        "import tarfile\nassert sys.argv[1:3] == ['pack', 'onnxruntime-web@1']\n(folder,) ="
        " [a.partition('=')[2] for a in sys.argv if a.startswith('--pack-destination=')]\nwith"
        " tarfile.open(folder + '/onnxruntime-web-1.0.0.tgz', 'w:gz') as archive:\n   "
        f" archive.add({str(dist.parent)!r}, 'package')\n"
    )
    done = camport("web", exported, "-o", "site")
    assert (done.status, done.err) == (0, "")
    assert "fetching onnxruntime-web by npm" in done.out
    assert sorted(path.name for path in (tmp_path / "site/engine").iterdir()) == NEEDED


def test_an_npm_that_fails(refused, exported, npm, tmp_path):
    npm("sys.exit('npm error code ENOTFOUND')")
    refused(r"npm could not bring onnxruntime-web \(npm error code ENOTFOUND\): .*--runtime FOLDER", "web", exported,
            "-o", "site")  # fmt: skip
    assert not (tmp_path / "site").exists()


def test_the_page_names_no_address_outside():
    for path in PAGE.iterdir():
        if path.is_file():
            found = re.findall(r"https?://[^\s\"'/`]+", path.read_text(encoding="utf-8"))
            assert set(found) <= {"http://127.0.0.1:8000"}, path.name
    policy = re.search(
        r"Content-Security-Policy\" content=\"(.*?)\"", (PAGE / "index.html").read_text(), re.DOTALL
    )
    assert policy
    assert policy[1].startswith("default-src 'none';")
    assert (
        set(re.findall(r"[\w:'-]+", policy[1].replace(" data:", "").replace(" blob:", "")))
        & {"*", "https:"}
        == set()
    )


def test_labels_are_never_markup():
    """Text reaches the page by textContent, new Option and attributes of its own alone."""
    for path in PAGE.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser", path.read_text()
        ), path.name


def test_modules_that_are_imported_are_there():
    for path in PAGE.glob("*.js"):
        for name in re.findall(r"from \"\./(.*?)\"", path.read_text(encoding="utf-8")):
            assert (PAGE / name).is_file(), f"{path.name}: {name}"
    for name in re.findall(
        r"(?:src|href)=\"(?!data:)(.*?)\"", (PAGE / "index.html").read_text(encoding="utf-8")
    ):
        assert (PAGE / name).is_file(), name
