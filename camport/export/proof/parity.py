"""Does the exported file compute what PyTorch computes? Asked on inputs that were not traced,
and a gate.

The measure is relative l2 against the program in float64. A bound on the largest difference would
be wrong: a ReLU or max-pool input near its kink takes one side in one backend and the other in the
next, and single gradients then differ in the second digit with nothing wrong. So the question is
whether the file is as near to float64 as eager float32 is:

    exported error ≤ min(max(3 × eager error, 1e-5), 5e-2)

Eager float32's error is itself a matter of chance, by the same kinks. It is taken as the worst of
several draws, each with the inputs moved by at most half a unit in the last place: what any
backend's first rounding does. If the file misses, more draws are made before it is refused: the
bound never widens by more than eager PyTorch itself strays. A float16 file is held to eager float16
in the same way; the floor is then float16's own 9.8e-4, the maximum 3e-1.

The maximum is what no file exceeds. Where eager PyTorch strays so far that three times its error is
above it, the explanation is so uncertain in this precision that being as near as eager PyTorch says
nothing. Of the networks in benchmarks/NETWORKS.md the worst files, of ResNets with random weights
explained in their middle, are 2e-2 off.

In the further draws the lowered graph, proven in float64, is run by PyTorch in float32 as well. Its
roundings are the file's (batch-norm folded), so it meets the kinks that the file meets. It counts
where at least one of its draws is as near to float64 as eager PyTorch is: then it strays by chance,
and is not inexact.

Rows that the network sorts by a score may change places where their scores tie; each has to be as
near all the same.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from camport.errors import ExportError, ParityError
from camport.export.capture.capture import Function
from camport.export.proof.float64_reference import in_float64
from camport.export.proof.tied_rows import in_order_of
from camport.export.report import OutputParity

FACTOR, FLOOR = 3.0, 1e-5
MOST = {torch.float32: 5e-2, torch.float16: 3e-1}
"""The largest error that any file may have, whatever eager PyTorch's is."""
DRAWS, MORE_DRAWS = 3, 24
LOWERED_BOUND = 1e-9

UNCERTAIN = (
    " itself, so rounding alone decides much of this explanation, and no file can do better: choose"
    " another layer, method or score, or images on which the map is not all but flat"
)

Outputs = Mapping[str, Tensor]


def relative_error(value: Tensor, reference: Tensor) -> float:
    """‖value - reference‖ / ‖reference‖, absolute where the reference is zero;
    inf for another shape."""
    if value.shape != reference.shape:
        return float("inf")
    value, reference = value.double(), reference.double()
    # infinities are equal ones or none: a logit of minus infinity rules a class out
    scale = reference[reference.isfinite()].norm().item()
    distance = torch.where(value == reference, 0.0, value - reference).norm().item()
    return distance / scale if scale > 0 else distance


def check_lowered(
    lowered: Function,
    state: Outputs,
    inputs: Outputs,
    reference: Outputs,
    again: Callable[[], Outputs] | None = None,
) -> float:
    """The largest relative distance of the lowered graph from `reference`, the program's outputs,
    both in float64.

    A heatmap that is all but flat shows nothing but rounding once it is scaled. So where an output
    is off, the graph is run with its inputs moved by half a unit of float64's last place, and may
    be off by as much as exact results stray, but never by more than any file may.

    Args:
        lowered: the graph, a function of its `state` and inputs.
        state: its constants.
        inputs: a sample.
        reference: the program's outputs for them.
        again: gives those once more; asked where the graph is off.

    Raises:
        ExportError: the program itself does not give the same twice.
        ParityError: if it is above 1e-9 and above 3 times that: a backward rule or a pass is wrong
            for this model.
    """
    got = _run_in_float64(lowered, state, inputs)
    errors = {name: relative_error(got[name], expected) for name, expected in reference.items()}
    if not max(errors.values()) <= LOWERED_BOUND:
        generator = torch.Generator().manual_seed(0)
        wide = {name: v.double() if v.is_floating_point() else v for name, v in inputs.items()}
        strayed = dict.fromkeys(reference, 0.0)
        for _ in range(DRAWS):
            moved = {name: _moved(value, generator, torch.float64) for name, value in wide.items()}
            found = _run_in_float64(lowered, state, moved)
            for name in reference:
                strayed[name] = max(strayed[name], relative_error(found[name], got[name]))
        for name, error in errors.items():
            allowed = min(max(LOWERED_BOUND, FACTOR * strayed[name]), MOST[torch.float32])
            if not error <= allowed:
                _check_repeats(reference, again)
                raise ParityError(
                    f"the lowered graph is wrong: output {name!r} is {error:.1e} off in float64, at"
                    f" most {allowed:.0e} is allowed"
                )
    return max(errors.values())


def _check_repeats(reference: Outputs, again: Callable[[], Outputs] | None) -> None:
    """Refuses a program that keeps a state, or draws numbers where PyTorch does not see it."""
    second = {} if again is None else again()
    for name, value in second.items():
        changed = relative_error(value, reference[name])
        if not changed <= LOWERED_BOUND:
            raise ExportError(
                f"PyTorch gives other values each time it is asked the same (output {name!r}"
                f" differs by {changed:.1e}): the model or the method draws numbers by numpy or"
                " Python, or keeps a state from call to call, and a file can do neither"
            )


def _run_in_float64(lowered: Function, state: Outputs, inputs: Outputs) -> dict[str, Tensor]:
    try:
        return in_float64(lowered, state, inputs)
    except RuntimeError as failure:
        first_line = str(failure).splitlines()[0][:200]
        raise ParityError(f"the lowered graph cannot be run: {first_line}") from failure


def check_exported(
    function: Function,
    state: Mapping[str, Tensor],
    run: Callable[[Outputs], Outputs],
    samples: Iterable[tuple[Outputs, Outputs]],
    precision: torch.dtype = torch.float32,
    twin: Callable[[Outputs], Outputs] | None = None,
) -> dict[str, OutputParity]:
    """The parity of every output over all `samples`.

    Args:
        function: the program, with its `state`, in the file's precision.
        run: the exported file.
        samples: inputs that were not traced, each with the program's outputs in float64.
        precision: in which the file computes; half a unit of it is what the inputs are moved by.
        twin: the lowered graph as a function of its inputs, run by PyTorch in that precision.

    Raises:
        ParityError: naming output, error and bound, and where the bound is the maximum, eager
            PyTorch's own error.
    """
    worst: dict[str, OutputParity] = {}
    for inputs, reference in samples:
        for name, parity in compare(
            function, state, run, inputs, reference, precision, twin
        ).items():
            if not parity.holds:
                raise ParityError(
                    f"output {name!r} of the exported graph is {parity.exported:.1e} off (relative"
                    f" l2 against float64), at most {parity.bound:.1e} is allowed; eager PyTorch is"
                    f" {parity.eager:.1e} off"
                    + (UNCERTAIN if FACTOR * parity.eager > parity.bound > 0 else "")
                )
            old = worst.get(name)
            if old is None or parity.exported / parity.bound > old.exported / old.bound:
                worst[name] = parity
    return worst


def compare(
    function: Function,
    state: Mapping[str, Tensor],
    run: Callable[[Outputs], Outputs],
    inputs: Outputs,
    reference: Outputs,
    precision: torch.dtype = torch.float32,
    twin: Callable[[Outputs], Outputs] | None = None,
) -> dict[str, OutputParity]:
    """The parity of every output on one sample, whether it holds or not;
    arguments as `check_exported`."""
    exported = run(inputs)
    # what eager PyTorch gives exactly may still be rounded once
    floor = max(FLOOR, torch.finfo(precision).eps)
    generator = torch.Generator().manual_seed(0)
    eager = dict.fromkeys(reference, 0.0)
    strayed: dict[str, Tensor] = {}
    twins: dict[str, list[float]] = {name: [] for name in reference}
    result: dict[str, OutputParity] = {}
    for draw in range(DRAWS + MORE_DRAWS):
        moved = (
            inputs if draw == 0 else {k: _moved(v, generator, precision) for k, v in inputs.items()}
        )
        values = function(state, moved)
        for name, expected in reference.items():
            if expected.is_floating_point():
                eager[name] = max(eager[name], relative_error(values[name], expected))
            else:
                strayed[name] = strayed.get(name, torch.zeros_like(expected, dtype=torch.bool)) | (
                    values[name] != expected
                )
        if draw + 1 < DRAWS:
            continue
        if twin is not None and result:
            found = twin(moved if any(twins.values()) else inputs)
            for name, expected in reference.items():
                twins[name].append(relative_error(found[name], expected))
        result = {
            name: _judge(
                exported[name],
                expected,
                _strays(eager[name], twins[name], floor),
                strayed.get(name),
                floor,
                MOST.get(precision, MOST[torch.float32]),
            )
            for name, expected in reference.items()
        }
        if all(parity.holds for parity in result.values()):
            break
    return result


def _strays(eager: float, twins: list[float], floor: float) -> float:
    """The largest error met: eager PyTorch's, and the lowered graph's if it strays by chance."""
    by_chance = bool(twins) and min(twins) <= max(FACTOR * eager, floor)
    return max(eager, *twins) if by_chance else eager


def _judge(
    value: Tensor, expected: Tensor, eager: float, strayed: Tensor | None, floor: float, most: float
) -> OutputParity:
    """Integers must be equal, except where eager float32 itself cannot decide (a tie)."""
    if strayed is None:
        error, bound = relative_error(value, expected), min(max(FACTOR * eager, floor), most)
        if error > bound:
            error = relative_error(in_order_of(expected, value.double()), expected)
        return OutputParity(error, eager, bound)
    if value.shape != expected.shape:
        return OutputParity(float("inf"), 0.0, 0.0)
    wrong = ((value != expected) & ~strayed).double().mean().item() if expected.numel() else 0.0
    return OutputParity(wrong, strayed.double().mean().item() if expected.numel() else 0.0, 0.0)


def _moved(value: Tensor, generator: torch.Generator, precision: torch.dtype) -> Tensor:
    """`value` with every element moved by up to half a unit in its last place in `precision`;
    integers stay."""
    if not value.is_floating_point():
        return value
    half_ulp = torch.finfo(precision).eps / 2
    noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return (value.double() * (1 + half_ulp * noise)).to(value.dtype)
