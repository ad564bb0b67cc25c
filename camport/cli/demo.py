"""`camport demo`."""
from pathlib import Path
def demo(output: Path = Path("camport-demo")) -> None:
    """Explain."""
