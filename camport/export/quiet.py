"""Silence for the exporter's own messages, with everything put back afterwards."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "torch._export", "onnxscript", "onnx_ir")


@contextmanager
def quiet() -> Iterator[None]:
    """While active, torch.onnx and its helpers neither warn nor log; errors still raise."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
