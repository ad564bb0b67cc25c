"""Providers: what is asked of the engine and what is said,
on a faked onnxruntime-gpu and a faked driver."""

import ctypes
import sys
import types
import warnings

import pytest

from camport.errors import (
    InputError,
    MissingDependencyError,
    ModelError,
    ProviderWarning,
    UnknownNameError,
)
from camport.runtime import cuda, load
from camport.runtime import providers as rooms

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture
def gpu_build(monkeypatch):
    """onnxruntime-gpu for onnxruntime: `loads` are the providers that load,
    `refuses` those that raise."""
    real = pytest.importorskip("onnxruntime")
    fake = types.ModuleType("onnxruntime")
    fake.loads, fake.refuses, fake.asked, fake.severities, fake.preloaded = [CPU], [], [], [], 0

    def session(path, options, providers, enable_fallback):
        names = [rooms.name_of(p) for p in providers]
        fake.asked.append(list(providers))
        assert not enable_fallback
        assert options.log_severity_level == 4
        for name in names:
            if name in fake.refuses:
                raise RuntimeError(
                    f"/src/onnxruntime/x.cc:7 void f(A&, const B&) Please install {name}.\nmore"
                )
        made = real.InferenceSession(path, options, providers=[CPU])
        made.get_providers = lambda: [n for n in names if n in fake.loads and n != CPU] + [CPU]
        return made

    def preload_dlls():
        print("Failed to load libcublas")
        fake.preloaded += 1

    fake.SessionOptions, fake.InferenceSession, fake.preload_dlls = (
        real.SessionOptions,
        session,
        preload_dlls,
    )
    fake.get_available_providers = lambda: [TENSORRT, CUDA, CPU]
    fake.get_all_providers = real.get_all_providers
    fake.set_default_logger_severity = fake.severities.append
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(rooms, "_said", set())
    return fake


@pytest.fixture
def no_device(monkeypatch) -> None:
    monkeypatch.setattr(rooms, "cuda_fault", lambda: "no NVIDIA driver")


@pytest.fixture
def device(monkeypatch) -> None:
    monkeypatch.setattr(rooms, "cuda_fault", lambda: None)


def test_the_best_that_works(gpu_build, device, write, capfd) -> None:
    gpu_build.loads = [CUDA, CPU]
    assert load(write()).providers == (CUDA, CPU)
    assert gpu_build.asked == [[CUDA, CPU]]  # TensorRT compiles for minutes: only where it is named
    assert gpu_build.preloaded == 1
    assert gpu_build.severities == [4, 2]
    assert capfd.readouterr() == ("", "")


def test_no_device_is_said_once_and_the_engine_is_not_asked(gpu_build, no_device, write) -> None:
    with pytest.warns(
        ProviderWarning, match=f"^{CUDA} cannot be used: no NVIDIA driver; going on with {CPU}"
    ) as said:
        assert load(write()).providers == (CPU,)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(write())
    assert gpu_build.asked == [[CPU], [CPU]]
    assert not gpu_build.preloaded


def test_a_device_without_the_libraries(gpu_build, device, write) -> None:
    with pytest.warns(
        ProviderWarning, match=f"{CUDA} cannot be used: its libraries .* did not load; going on"
    ):
        assert load(write()).providers == (CPU,)


def test_named_with_the_cpu_goes_on_with_the_cpu(gpu_build, no_device, write) -> None:
    with pytest.warns(ProviderWarning, match=f"{TENSORRT} and {CUDA} cannot be used"):
        assert load(write(), providers=["tensorrt", "cuda", "cpu"]).providers == (CPU,)


@pytest.mark.parametrize("fault", ["no NVIDIA driver", None])
def test_named_alone_is_an_error(gpu_build, monkeypatch, write, fault) -> None:
    monkeypatch.setattr(rooms, "cuda_fault", lambda: fault)
    with pytest.raises(ModelError, match=f'{CUDA} cannot be used: .*; add "{CPU}" to providers'):
        load(write(), providers=[CUDA])


def test_one_that_refuses_leaves_the_next(gpu_build, device, write) -> None:
    gpu_build.refuses, gpu_build.loads = [TENSORRT], [CUDA, CPU]
    with pytest.warns(
        ProviderWarning,
        match=f"^{TENSORRT} cannot be used: Please install {TENSORRT}; going on with {CUDA}",
    ):
        assert load(write(), providers=[TENSORRT, CUDA]).providers == (CUDA, CPU)
    with pytest.raises(ModelError, match=f"Please install {TENSORRT}$"):
        load(write(), providers=[TENSORRT])


def test_options_reach_the_engine(gpu_build, device, write) -> None:
    gpu_build.loads = [CUDA, CPU]
    load(write(), providers=[("cuda", {"device_id": 1}), CPU])
    assert gpu_build.asked == [[(CUDA, {"device_id": 1}), CPU]]


def test_the_cpu_alone_asks_nobody(gpu_build, monkeypatch, write) -> None:
    monkeypatch.setattr(rooms, "cuda_fault", lambda: pytest.fail("the driver was asked"))
    assert load(write(), providers=["cpu"]).providers == (CPU,)
    assert not gpu_build.severities


def test_names(write) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown provider 'CUDAExecutionProvidr'; did you mean 'CUDAE"
    ):
        load(write(), providers=["CUDAExecutionProvidr"])
    with pytest.raises(
        MissingDependencyError, match=r'CUDAExecution.*pip install "camport\[gpu\]"'
    ):
        load(write(), providers=["CUDAExecutionProvider"])
    with pytest.raises(MissingDependencyError, match=r"CoreML.*install a build with it"):
        load(write(), providers=["coreml"])
    with pytest.raises(InputError, match="providers is empty"):
        load(write(), providers=[])
    with pytest.raises(InputError, match=r"give a list, providers=\['cuda'\]"):
        load(write(), providers="cuda")


@pytest.mark.parametrize(
    ("started", "counted", "devices", "fault"),
    [(0, 0, 1, None), (0, 0, 0, "sees no device"), (100, 0, 0, "error 100"), (0, 3, 0, "error 3")],
)
def test_the_driver_is_asked(monkeypatch, started, counted, devices, fault) -> None:
    def count(reference) -> int:
        reference._obj.value = devices
        return counted

    driver = types.SimpleNamespace(cuInit=lambda flags: started, cuDeviceGetCount=count)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    said = cuda.cuda_fault()
    assert said is None if fault is None else fault in said


def test_no_driver(monkeypatch) -> None:
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "no NVIDIA driver" in (cuda.cuda_fault() or "")
