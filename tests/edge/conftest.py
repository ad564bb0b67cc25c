"""A program in C++; where the machine cannot build it, its test is not collected,
and the last line says so."""

from tests.edge.tools import missing

collect_ignore = ["test_cpp.py"] if missing() else []


def pytest_terminal_summary(terminalreporter):
    if missing():
        terminalreporter.write_line(
            f"not done: tests/edge/test_cpp.py, for want of {', '.join(missing())}"
        )
