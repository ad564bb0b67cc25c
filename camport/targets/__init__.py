"""What a task may be asked for, as data: an adapter declares it, an exported file carries it.
NumPy alone."""

from camport.targets.field import KINDS, Field, arrays, described, read

__all__ = ["KINDS", "Field", "arrays", "described", "read"]
