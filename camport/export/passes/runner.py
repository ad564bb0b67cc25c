"""Runs graph passes one after the other and says, when one fails, which already ran."""

from collections.abc import Callable, Sequence

from torch.fx import GraphModule

from camport.errors import ExportError
from camport.export.failure_location import in_pass
from camport.export.graph import compile_graph
from camport.export.stages import stage, stages

GraphPass = Callable[[GraphModule], int]
"""Rewrites a graph in place and returns at how many places it did."""


def run_passes(
    graph: GraphModule, passes: Sequence[GraphPass], name: str = "passes"
) -> dict[str, int]:
    """Runs `passes` in order; after each, dead nodes are dropped and the graph is checked.

    Returns:
        The number of rewrites of each pass, by its name.

    Raises:
        ExportError: if a pass fails or leaves a broken graph; names it and those that ran before.
    """
    with stage(name) as done:
        _run(graph, passes, done)
    return done


def _run(graph: GraphModule, passes: Sequence[GraphPass], done: dict[str, int]) -> None:
    for graph_pass in passes:
        name = graph_pass.__name__
        try:
            done[name] = graph_pass(graph)
            compile_graph(graph)
            stages().write(name, graph)
        except ExportError as error:
            in_pass(error, name)
            raise
        except Exception as error:
            ran = ", ".join(f"{n} ({k} rewrites)" for n, k in done.items()) or "none"
            failure = ExportError(
                f"graph pass {name} failed: {error}; passes that ran before: {ran}"
            )
            raise in_pass(failure, name) from error
