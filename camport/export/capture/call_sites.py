"""Where in a model's code operators are called, noted at the nodes that are recorded."""

import linecache
from dataclasses import replace
from types import FrameType
from typing import Any

from torch.fx import GraphModule, Node

from camport.export.failure_location import (
    GENERATED,
    SITE,
    Site,
    calling_frames,
    failure_frames,
    locate,
    own_backward,
    site_of,
)
from camport.export.private_torch import (
    TorchDispatchMode,
    autograd_node,
    get_proxy_mode,
    latest_number,
)


class CallSites(TorchDispatchMode):
    """Knows, of each operator, where it is called.

    A backward operator belongs to the call that made its node of autograd's graph: both have one
    number.
    """

    def __init__(self) -> None:
        super().__init__()
        self._makers: dict[int, Site] = {}
        self._latest: tuple[str, Site] = "", Site()

    def site(self, func: Any) -> tuple[Site, bool]:
        """Where the operator that is being dispatched was called, and whether in a forward pass."""
        node = autograd_node()
        if node is None:
            site = site_of(calling_frames(2))
            # the first operator after a node was made is the one that it was made for
            self._makers.setdefault(latest_number(), site)
        else:
            site = self._makers.get(node._sequence_nr(), Site())
            _, line = own_backward(calling_frames(2))
            site = replace(site, line=line or site.line)
        self._latest = str(func), site
        return site, node is None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        if error is None:
            return
        frames = failure_frames(error)
        node, line = own_backward(frames)
        operator, site = self._latest
        if node is not None:
            site = self._makers.get(node._sequence_nr(), Site())
            locate(error, type(node).__name__, replace(site, line=line))
        elif site.line and site.line == site_of(frames).line:
            locate(error, operator, site)


class MarkedNodes(CallSites):
    """Notes at each recorded node where it was called; in a replay, where its node was."""

    def __init__(self) -> None:
        super().__init__()
        self._tracer: Any = get_proxy_mode()
        self._replayed: dict[str, dict[int, Node]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator, below autograd."""
        nodes = self._tracer.tracer.graph.nodes
        last = next(iter(reversed(nodes)), None)
        site = self._site_of_replayed() or self.site(func)[0]
        result = func(*args, **(kwargs or {}))
        for node in reversed(nodes):
            if node is last:
                break
            node.meta[SITE] = site
        return result

    def _site_of_replayed(self) -> Site | None:
        for frame, line in calling_frames(2):
            if frame.f_code.co_filename.startswith(GENERATED):
                node = self._nodes(frame).get(line)
                return None if node is None else node.meta.get(SITE)
        return None

    def _nodes(self, frame: FrameType) -> dict[int, Node]:
        """The nodes of the graph whose code a frame runs, by their lines."""
        name = frame.f_code.co_filename
        if name not in self._replayed:
            graph = frame.f_locals.get("self")
            known = graph.graph.nodes if isinstance(graph, GraphModule) else ()
            nodes = {node.name: node for node in known}
            lines = (line.partition(" = ")[0].strip() for line in linecache.getlines(name))
            self._replayed[name] = {
                number: nodes[line] for number, line in enumerate(lines, 1) if line in nodes
            }
        return self._replayed[name]
