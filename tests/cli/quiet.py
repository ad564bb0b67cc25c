"""A detector for the command line that is sure of nothing: `tests.cli.quiet:make`."""

from torch import nn

from tests.adapters.detectors import Detector, FreeHead, awake, quiet


def make() -> nn.Module:
    """Its best candidate has a confidence of some hundredths, whatever it sees."""
    return quiet(awake(Detector(FreeHead("nothing")))).float()
