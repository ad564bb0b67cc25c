"""What a broken rule raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from camport.errors import CamportError, MissingDependencyError


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
