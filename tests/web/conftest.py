"""A site in a browser; where the machine has none, its tests are not collected,
and the last line says so."""

import json
import shutil

import pytest

from tests.web.driver import missing

collect_ignore = ["test_browser.py", "test_node.py", "test_report.py"] if missing() else []


def pytest_terminal_summary(terminalreporter):
    if missing():
        terminalreporter.write_line(f"not done: tests/web, for want of {', '.join(missing())}")


@pytest.fixture(scope="session")
def exported(shared):
    """Files of a classifier and of a detector that suppresses, one with hostile labels,
    one that asks for boxes."""

    def write(folder):
        import onnx

        from camport.cli import main

        for name, *options in (
            ("digits", "-m", "demo:digits", "--method", "gradcam"),
            ("saliency", "-m", "demo:digits", "--method", "saliency"),
            ("detector", "-m", "demo:detector", "--method", "odam", "--one-image", "--nms"),
            ("boxes", "-m", "demo:detector", "--method", "odam"),
        ):
            assert main(["export", *options, "-o", str(folder / f"{name}.onnx"), "--quiet"]) == 0
        model = onnx.load(folder / "digits.onnx")
        for entry in model.metadata_props:
            if entry.key == "camport.labels":
                labels = ["<img src=x onerror=alert(1)>", "<b>one</b>", *"23456", "&lt;7", *"89"]
                entry.value = json.dumps(labels)
        onnx.save(model, folder / "hostile.onnx")

    folder, _ = shared("web-exported", write)
    return {path.stem: path for path in folder.glob("*.onnx")}


@pytest.fixture(scope="session")
def site(shared, exported):
    """A site with all of them; npm brings onnxruntime-web."""

    def write(folder):
        from camport.web import from_npm, write_site
        from camport.web.site import scenes

        files = [exported[name] for name in ("digits", "detector", "boxes", "saliency", "hostile")]
        write_site(folder / "site", files, from_npm(), scenes())
        shutil.copy(next(iter(scenes())), folder / "site" / "no file.onnx")

    return shared("web-site", write)[0] / "site"
