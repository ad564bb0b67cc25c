"""Rules on an explainer among threads: one that explains too, one that draws random numbers,
one that trains."""

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camport.testing.case import Case, quiet
from camport.testing.maps import seeds

TIMES = 3


def among_threads(case: Case) -> None:
    """Two threads on one bound method give the serial map to the last bit,
    and disturb no other thread.

    One of the others draws from PyTorch's and NumPy's global generators, whose streams stay the
    serial ones; one trains a copy of the model, whose weights become those of training alone.
    Python's generator is left out: runtime type checkers draw from it.
    """
    if case.images.device.type != "cpu":
        return  # kernels of a device need not be deterministic
    expected = case.explain().raw
    with seeds(11):
        trained = _train(case)
    with seeds(11):
        raised: list[str] = []
        found: dict[int, list[Tensor]] = {0: [], 1: []}
        numbers: list[tuple[float, float]] = []
        beside: list[list[Tensor]] = []
        bound, started = case.bound(), threading.Barrier(4)

        def explain(k: int) -> None:
            for _ in range(TIMES):
                found[k].append(bound(case.images, case.target).raw)

        def draw() -> None:
            while not numbers or any(thread.is_alive() for thread in threads[:2]):
                numbers.append(_drawn())
                time.sleep(2e-4)

        def run(work: Callable[[], Any]) -> None:
            try:
                started.wait(60)
                with quiet(), torch.enable_grad():
                    work()
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")

        works = [lambda: explain(0), lambda: explain(1), draw, lambda: beside.append(_train(case))]
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with seeds(11):
        stream = [_drawn() for _ in numbers]
    judge = case.judge
    judge.demand(not raised, lambda: f"among threads: {raised[0]}")
    same = all(torch.equal(raw, expected) for raws in found.values() for raw in raws)
    judge.demand(
        same,
        "two threads on one bound method give other maps than one; keep no state on instance or"
        " class",
    )
    judge.demand(
        numbers == stream,
        "another thread's random numbers are not the serial ones; draw from a generator of your"
        " own, never from NumPy's global one, and write no state of PyTorch's",
    )
    equal = all(torch.equal(a, b) for a, b in zip(beside[0], trained, strict=True))
    judge.demand(
        equal,
        "a model that is trained beside it has other weights than without; change nothing global",
    )


def _drawn() -> tuple[float, float]:
    """The next numbers of the process's generators."""
    return float(torch.rand(())), float(np.random.random())  # noqa: NPY002 - the global generator is what is watched


def _train(case: Case) -> list[Tensor]:
    """The weights of a copy after some steps."""
    model: nn.Module = copy.deepcopy(case.network.model).train().requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()  # draws random numbers too, whose order among threads is open
    images, parameters = case.images.clone(), list(model.parameters())
    for _ in range(TIMES):
        outputs = case.adapter.ask(model, images, case.adapter.prepare(case.target, images))
        leaves = [
            v
            for v in torch.utils._pytree.tree_leaves(outputs)
            if isinstance(v, Tensor) and v.requires_grad
        ]
        grads = torch.autograd.grad(
            [v.square().mean() for v in leaves], parameters, allow_unused=True
        )
        with torch.no_grad():
            for p, g in zip(parameters, grads, strict=True):
                p.sub_(0.01 * (torch.zeros_like(p) if g is None else g))
    return [p.detach().clone() for p in parameters]
