"""The audit of dependencies says what it did not audit."""

import json

import pytest

from tests.audit import CLEAN, NOT_AUDITED, VULNERABLE, installed, verdict

ASKED = {"numpy": "2.0.0", "Pillow": "11.0.0"}


def entry(name, *ids):
    return {"name": name, "version": "1", "vulns": [{"id": i} for i in ids]}


@pytest.mark.parametrize(
    ("dependencies", "status", "line"),
    [
        ([entry("numpy"), entry("pillow")], CLEAN, "2 packages have no known vulnerability"),
        (
            [entry("numpy"), entry("pillow", "CVE-1", "CVE-2")],
            VULNERABLE,
            "vulnerable: pillow 1: CVE-1, CVE-2",
        ),
        (
            [entry("numpy"), {"name": "pillow", "skip_reason": "Dependency not found on PyPI"}],
            NOT_AUDITED,
            "NOT AUDITED, since the service does not answer or does not know them: Pillow 11.0.0",
        ),
        (
            None,
            NOT_AUDITED,
            (
                "NOT AUDITED, since the service does not answer or does not know them: Pillow"
                " 11.0.0, num"
            ),
        ),
    ],
)
def test_verdict(dependencies, status, line):
    answer = "" if dependencies is None else json.dumps({"dependencies": dependencies})
    found = verdict(ASKED, answer)
    assert found[0] == status
    assert found[1].startswith(line)


def test_what_is_audited_is_what_is_installed():
    found = installed()
    assert {"numpy", "pillow", "torch", "onnxruntime", "rich", "markdown-it-py"} <= set(found)
    assert not any("_" in name for name in found)  # one spelling
    assert not any("+" in version for version in found.values())
    assert "pytest" not in found
