"""What every step of an export takes: a program,
in a form that a type checker can check at run time."""

from typing import Protocol, runtime_checkable

from camport.core.program import Program


@runtime_checkable
class Traceable(Program, Protocol):
    """A `camport.core.program.Program`."""
