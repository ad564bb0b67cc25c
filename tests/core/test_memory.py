"""Out of memory: chunks of a fixed size, halved where they do not fit,
and one error with its remedy."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import camport
from camport.core.maps.loop import in_chunks
from camport.core.running import chunk_size, free_memory
from camport.core.running.chunk_size import chunk_for
from camport.core.running.free_memory import free_bytes
from camport.errors import MemoryWarning, ModelError, OutOfMemoryError, out_of_memory, silenced
from camport.plugins.integrated_gradients import IntegratedGradients
from camport.plugins.sscam import SSCAM

IMAGES = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(3))
ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you"
    " tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)
CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(2)
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)),
    ).eval()
    net[-1].bias.data += 2  # Ablation-CAM warns of negative scores
    return net


class Small(TorchDispatchMode):
    """An allocator that has no more than so many values for a tensor,
    or that fails at its n-th operation alone."""

    def __init__(self, largest: int | None = None, nth: int | None = None) -> None:
        super().__init__()
        self.largest, self.nth, self.met = largest, nth, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.met += 1
        result = func(*args, **(kwargs or {}))
        large = self.largest and isinstance(result, torch.Tensor) and result.numel() > self.largest
        if large or self.met == self.nth:
            raise RuntimeError(ALLOCATOR)
        return result


METHODS = {
    "occlusion": lambda: "occlusion",
    "integrated_gradients": lambda: IntegratedGradients(steps=40),
    "ablationcam": lambda: "ablationcam",
    "sscam": lambda: SSCAM(samples=4),
}


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_the_free_memory(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for free in (1 << 60, 200 << 20, 8 << 20):
        monkeypatch.setattr(chunk_size, "free_bytes", lambda device, free=free: free)
        bound = camport.bind(network(), METHODS[method](), layer="2")
        with pytest.warns(MemoryWarning, match="chunk=") if free == 8 << 20 else _nothing():
            found.append(bound(IMAGES, 1))
    for other in found[1:]:
        assert torch.equal(other.raw, found[0].raw)
        assert torch.equal(other.heatmap, found[0].heatmap)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("size", [(3, 40, 40), (3, 224, 224), (1, 224, 224), (3, 4000, 4000)])
def test_the_chunk_follows_from_the_size(
    size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {40: 32, 224: 6 if size[0] == 3 else 20, 4000: 1}[size[1]]
    for free in (1, 1 << 60):
        monkeypatch.setattr(chunk_size, "free_bytes", lambda device, free=free: free)
        assert chunk_for(torch.empty(1, *size)) == expected


@pytest.mark.parametrize("total", [False, True])
def test_a_chunk_that_does_not_fit_is_halved(total: bool) -> None:
    seen: list[int] = []

    def step(numbers: torch.Tensor) -> torch.Tensor:
        seen.append(len(numbers))
        if len(numbers) > 3:
            raise RuntimeError(ALLOCATOR)
        return numbers.double() ** 2

    told: list[tuple[int, int]] = []
    with pytest.warns(
        MemoryWarning, match=r"not enough memory for [84] variants.* goes on with [42]"
    ) as warned:
        found = in_chunks(
            step, [torch.arange(10)], 8, total, lambda done, of: told.append((done, of))
        )
    squares = torch.arange(10).double() ** 2
    assert torch.equal(found, squares.sum() if total else squares)
    assert seen == [8, 4, 2, 2, 2, 2, 2]
    assert told[-1] == (10, 10)
    assert len(warned) == 2


def test_other_errors_of_a_step_are_its_own() -> None:
    def step(numbers: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        in_chunks(step, [torch.arange(10)], 8, False, None)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_many_variants_go_on_with_smaller_chunks(method: str) -> None:
    bound = camport.bind(network(), METHODS[method](), layer="2")
    expected = bound(IMAGES, 1)
    with pytest.warns(MemoryWarning, match="goes on with"), Small(largest=4 * IMAGES.numel()):
        found = bound(IMAGES, 1)
    assert torch.allclose(
        found.raw, expected.raw, rtol=1e-4, atol=1e-6 * float(expected.raw.abs().max())
    )
    assert torch.equal(found.score, expected.score)


@pytest.mark.parametrize(
    "method", ["gradcam", "saliency", "eigencam", "occlusion", "integrated_gradients"]
)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_an_allocation_that_fails_is_one_error_or_none(method: str, share: float) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bound = camport.bind(model, method, layer="2", chunk=4)
    with Small() as counting:
        expected = bound(IMAGES, 1)
    with Small(nth=max(1, int(share * counting.met))):
        try:
            # where the allocation lies in a chunk, which depends on the method
            with silenced(MemoryWarning):
                found = bound(IMAGES, 1)
        except OutOfMemoryError as error:
            assert "chunk=1" in str(error)  # noqa: PT017 - it may also go well
            assert "3x40x40" in str(error)  # noqa: PT017
        else:
            assert torch.allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not any(module._forward_hooks for module in model.modules())


def test_no_chunk_that_fits() -> None:
    model = network()
    with (
        Small(largest=100),
        pytest.raises(OutOfMemoryError, match=r"out of memory.*3x40x40.*chunk=1.*DefaultCPUAlloc"),
    ):
        camport.explain(model, IMAGES, "occlusion", 1)
    assert issubclass(OutOfMemoryError, MemoryError)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError(ALLOCATOR), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("[json.exception] std::bad_alloc"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libtorch.so: failed to map segment from shared object"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("the memory bank has no room"), False),
        (ValueError("not enough memory tokens"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_allocators_errors_are_known(error: BaseException, is_memory: bool) -> None:
    assert out_of_memory(error) is is_memory
    wrapped = ModelError("the model failed")
    wrapped.__cause__ = error
    assert out_of_memory(wrapped) is is_memory


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMINFO = "MemTotal: 32000 kB\nMemFree: 1000 kB\nMemAvailable:   21000 kB\nCached: 20000 kB\n"
GROUP2 = "sys/fs/cgroup/system.slice/app"
GROUP1 = "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 21000 << 10),
        (
            {
                "proc/self/cgroup": "0::/system.slice/app\n",
                f"{GROUP2}/memory.max": "9000000\n",
                f"{GROUP2}/memory.current": "5000000\n",
                f"{GROUP2}/memory.stat": "anon 1\ninactive_file 300000\n",
                "sys/fs/cgroup/system.slice/memory.max": "max\n",
            },
            4300000,
        ),
        (  # the limit of a group further up
            {
                "proc/self/cgroup": "0::/system.slice/app\n",
                f"{GROUP2}/memory.max": "max\n",
                f"{GROUP2}/memory.current": "5\n",
                "sys/fs/cgroup/system.slice/memory.max": "1000000",
                "sys/fs/cgroup/system.slice/memory.current": "400000",
            },
            600000,
        ),
        (  # version 1; within a container the group's name is that of outside
            {
                "proc/self/cgroup": "5:cpu:/docker/ab\n4:memory:/docker/ab\n",
                f"{GROUP1}/memory.limit_in_bytes": "2000000",
                f"{GROUP1}/memory.usage_in_bytes": "1500000",
                f"{GROUP1}/memory.stat": "cache 5\ntotal_inactive_file 100000\n",
            },
            600000,
        ),
        (  # used beyond the limit
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "10",
                "sys/fs/cgroup/memory.current": "30",
            },
            0,
        ),
    ],
)
def test_free_memory(
    tmp_path: Path, files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_memory, "_own_limit", lambda root: iter(()))
    assert free_bytes(CPU, tree(tmp_path, {"proc/meminfo": MEMINFO, **files})) == expected


def test_the_limit_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    page = free_memory.os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100 * page, resource.RLIM_INFINITY))
    root = tree(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/statm": "40 7 3 1 0 5 0\n"})
    assert free_bytes(CPU, root) == 60 * page


def test_this_machine() -> None:
    assert 1 << 20 < free_bytes(CPU) < 1 << 50
