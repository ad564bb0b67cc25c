"""Nothing of the process is changed for other threads: warnings, logging, environment,
what torch.load reads."""

import importlib
import logging
import os
import sys
import threading
import time
import types
import warnings
from contextlib import nullcontext

import pytest
import torch
from PIL import Image
from torch import nn

import camport
from camport.errors import CamportWarning, FlatMapWarning, silenced
from camport.export import to_onnx
from camport.export.quiet import quiet
from camport.models import yolo
from camport.runtime import load, open_image
from tests.nets import GapNet, seeded

LOGGERS = (
    "torch.onnx",
    "torch.export",
    "torch.fx",
    "torch._dynamo",
    "onnxscript",
    "onnx_ir",
    "root",
)


def state():
    """What belongs to the process."""
    known = [
        logging.root,
        *(v for v in logging.root.manager.loggerDict.values() if isinstance(v, logging.Logger)),
    ]
    handlers = [*(h for logger in known for h in logger.handlers), logging.lastResort]
    return {
        "filters": list(warnings.filters),
        "shown by": warnings.showwarning,
        "levels": {name: logging.getLogger(name).level for name in LOGGERS},
        "disabled": logging.root.manager.disable,
        # PyTorch adds handlers while it is imported
        "filtered": [f for handler in handlers for f in handler.filters],
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": os.getcwd(),
    }


def beside(work, threads: int, times: int) -> list[BaseException]:
    """Runs `work` in threads and gives what they raised;
    meanwhile this thread is heard whatever it says."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(times):
                work()
        except BaseException as error:
            raised.append(error)

    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("torch.onnx")
    logger.addHandler(handler)
    running = [threading.Thread(target=run) for _ in range(threads)]
    said = 0
    try:
        # before the threads begin, and after they end
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = state()
            for thread in running:
                thread.start()
            while said < 20 or any(thread.is_alive() for thread in running):
                warnings.warn(f"heard {said}", FlatMapWarning, stacklevel=1)
                logger.warning("logged %d", said)
                said += 1
                threading.Event().wait(0.002)
            for thread in running:
                thread.join()
            assert state() == before
        assert [str(w.message) for w in caught if "heard" in str(w.message)] == [
            f"heard {i}" for i in range(said)
        ]
        assert [text for text in records if text.startswith("logged")] == [
            f"logged {i}" for i in range(said)
        ]
    finally:
        logger.removeHandler(handler)
    return raised


def test_images_are_opened(tmp_path):
    Image.new("RGB", (40, 30), (9, 0, 0)).save(tmp_path / "photo.png")
    assert not beside(lambda: open_image(tmp_path / "photo.png"), threads=16, times=12)


@pytest.fixture(autouse=True)
def undecorated(monkeypatch):
    """beartype, which is in tests alone, records all warnings of the process while it decorates a
    function.

    It does so wherever a module of camport is imported for the first time, which may be in a
    thread.
    """
    for name, found in list(sys.modules.items()):
        if name.startswith("beartype.") and "catch_warnings" in vars(found):
            monkeypatch.setattr(found, "catch_warnings", lambda *, record=False: nullcontext([]))


@pytest.mark.everything
def test_exports_wait_for_each_other_and_all_succeed(tmp_path):
    images, names = torch.randn(2, 3, 14, 18), iter(range(9))

    def export() -> None:
        model = seeded(GapNet()).float().eval()
        bound = camport.bind(model, "gradcam", "features")
        path = tmp_path / f"{next(names)}.onnx"
        to_onnx(bound, path, images)
        explained = load(path, ["cpu"])(images.numpy(), target=[1, 2])
        expected = bound(images, torch.tensor([1, 2])).heatmap
        torch.testing.assert_close(torch.from_numpy(explained.heatmap), expected, atol=1e-4, rtol=0)

    assert not beside(export, threads=4, times=1)


def test_explanations_are_made():
    model = seeded(GapNet()).eval()
    bound, images = (
        camport.bind(model, "gradcam", "features"),
        torch.randn(2, 3, 14, 18, dtype=torch.float64),
    )
    with silenced():
        bound(images, 1)

    def explain() -> None:
        with silenced():
            bound(images, 1)

    assert not beside(explain, threads=8, times=10)


def test_silence_is_of_one_thread_and_of_one_block():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with silenced():
            warnings.warn("of camport", FlatMapWarning, stacklevel=1)
            warnings.warn("of others", UserWarning, stacklevel=1)
            # brings the filters of now back when it ends
            with warnings.catch_warnings(), silenced(UserWarning):
                warnings.warn("of all", UserWarning, stacklevel=1)
            kept = list(warnings.filters)
        warnings.warn("afterwards", CamportWarning, stacklevel=1)
        warnings.filters[:] = kept  # as another thread's catch_warnings would
        warnings.warn("brought back", CamportWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["of others", "afterwards", "brought back"]


def test_another_threads_block_does_not_stop_a_warning_between_two_filters():
    """What runs Python there lets that thread end its block, and the next filter is passed over."""
    entered, leave, ran = threading.Event(), threading.Event(), []

    def other() -> None:
        with silenced():
            entered.set()
            leave.wait()

    def seen(frame, event, argument) -> None:
        if event == "call" and frame.f_code.co_filename == camport.errors.__file__:
            ran.append(frame.f_code.co_name)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    before = sys.getprofile()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # the other thread's stands in front
            warnings.filters.insert(0, warnings.filters.pop(1))
            sys.setprofile(seen)
            warnings.warn("heard", FlatMapWarning, stacklevel=1)
            sys.setprofile(before)
    finally:
        sys.setprofile(before)
        leave.set()
        thread.join()
    assert [str(w.message) for w in caught] == ["heard"]
    assert ran == []


STEP: list[threading.Event] = []


class Stepped(GapNet):
    """Waits in its forward pass until another thread has changed the weights."""

    def forward(self, x):
        maps = self.features(x)
        for event in STEP[:1]:
            event.set()
            STEP[1].wait()
        return self.head(maps)


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "saliency", "scorecam"])
def test_weights_that_change_meanwhile(method):
    model, images = seeded(Stepped()).eval(), torch.randn(2, 3, 14, 18, dtype=torch.float64)
    bound = camport.bind(model, method, None if method == "saliency" else "features")
    with silenced():
        expected = bound(images, 1)
    STEP[:] = [threading.Event(), threading.Event()]

    def step() -> None:
        STEP[0].wait()
        with torch.no_grad():
            model.fc.weight.add_(0.5)
        STEP[1].set()

    thread = threading.Thread(target=step)
    thread.start()
    try:
        with (
            pytest.raises(camport.CamportError, match=r"another thread.*copy\.deepcopy\(model\)"),
            silenced(),
        ):
            bound(images, 1)
    finally:
        STEP[0].set()  # where the forward pass was never reached
        thread.join()
        STEP.clear()
    with torch.no_grad():
        model.fc.weight.sub_(0.5)
    with silenced():
        torch.testing.assert_close(bound(images, 1).raw, expected.raw)


class Held(nn.Module):
    """A checkpoint of a whole object."""


def test_another_threads_checkpoints_are_read_as_before(tmp_path):
    torch.save(Held(), tmp_path / "object.pt")
    loader, found = types.SimpleNamespace(torch=torch), []

    def other() -> None:
        try:
            loader.torch.load(tmp_path / "object.pt")
        except Exception as error:
            found.append(str(error))

    with yolo._objects_are_read(loader):
        assert isinstance(loader.torch.load(tmp_path / "object.pt"), Held)
        assert loader.torch.zeros is torch.zeros
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(Exception, match="weights_only"):
            torch.load(tmp_path / "object.pt")
    assert "weights_only" in found[0]
    assert loader.torch is torch


def test_checkpoints_that_threads_load_at_once_are_all_read(tmp_path):
    torch.save(Held(), tmp_path / "object.pt")
    loader, read, started = types.SimpleNamespace(torch=torch), [], threading.Barrier(3)

    def load() -> None:
        started.wait()
        for _ in range(5):
            with yolo._objects_are_read(loader):
                time.sleep(0.002)  # the others run
                read.append(type(loader.torch.load(tmp_path / "object.pt")))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [Held] * 15
    assert loader.torch is torch


def test_pytorchs_own_filters_are_not_those_of_others(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.forbidden", None)  # as its import is forbidden
    unlift = importlib.import_module("torch.export._unlift")
    with quiet():
        other = unlift.warnings
        with other.catch_warnings():
            other.simplefilter("ignore")
            filters = list(warnings.filters)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(other.catch_warnings))
        thread.start()
        thread.join()
    assert ("ignore", None, Warning, None, 0) not in filters
    assert seen == [warnings.catch_warnings]
    assert unlift.warnings is warnings


def test_silence_ends_in_any_order():
    """What another thread's catch_warnings brought back goes with the next block;
    no filter of others goes."""
    mine = ("ignore", None, ResourceWarning, None, 7)
    with warnings.catch_warnings():
        warnings.filters.insert(0, mine)
        before = list(warnings.filters)

        def work():
            for _ in range(300):
                with silenced(), silenced(FlatMapWarning):
                    pass

        running = [threading.Thread(target=work) for _ in range(8)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert warnings.filters == before
        with silenced():
            kept = list(warnings.filters)
        warnings.filters[:] = kept
        with silenced():
            pass
        assert warnings.filters == before
