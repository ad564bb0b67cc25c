"""What a broken rule raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from camport.errors import CamportError, MissingDependencyError

Kind = TypeVar("Kind")


class ConformanceError(CamportError, AssertionError):
    """A plugin breaks a rule of the kit.

    Args:
        who: the class that was checked.
        rule: name of the rule, e.g. "deterministic".
        what: what was found and what to do.
    """

    def __init__(self, who: str, rule: str, what: str) -> None:
        self.who, self.rule = who, rule
        super().__init__(f"{who} breaks the rule {rule!r}: {what}")


class Judge:
    """Raises for one class; rules get it to say what they found."""

    def __init__(self, who: str) -> None:
        self.who, self.rule = who, ""

    def fail(self, what: str) -> NoReturn:
        """The rule is broken, in this way."""
        raise ConformanceError(self.who, self.rule, what)

    def demand(self, kept: bool, what: str | Callable[[], str]) -> None:
        """The rule is broken unless `kept`."""
        if not kept:
            self.fail(what if isinstance(what, str) else what())

    def made(self, cls: type, kind: type[Kind]) -> Kind:
        """The plugin with its defaults; fails where it has an option without one."""
        try:
            made = cls()
        except TypeError as error:
            self.fail(
                f"{cls.__name__}() failed: {error}; give every option a default, or pass an"
                " instance to the kit"
            )
        assert isinstance(made, kind)
        return made

    @contextmanager
    def judging(self, rule: str) -> Iterator[None]:
        """Names the rule, and whatever else is raised meanwhile breaks it."""
        self.rule = rule
        try:
            yield
        except (ConformanceError, MissingDependencyError):
            raise
        except Exception as error:
            raise ConformanceError(self.who, rule, f"{type(error).__name__}: {error}") from error
