"""Makes `programs` importable: the tests run without packages (`--import-mode=importlib`)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items):
    """A file's map may be flat where PyTorch's is: what is compared here is whether both are."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings(
                    "ignore:.*the heatmap of row:camport.errors.FlatMapWarning"
                )
            )
