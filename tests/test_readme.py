"""Every code block of the README runs, and prints what it says it prints."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """Run all blocks in order, in one namespace, as a reader would."""
    names: dict[str, object] = {}
    out = []
    for block in BLOCKS:
        with redirect_stdout(io.StringIO()) as text:
            exec(compile(block, "README.md", "exec"), names)
        out.append(text.getvalue())
    return out


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) >= 3


def test_the_table_is_certified_exactly_on_all_pairs(printed: list[str]) -> None:
    assert "on all 97,461 pairs: proved" in printed[0]
    constants = [float(value) for value in re.findall(r"^= ([0-9.]+)", printed[0], flags=re.MULTILINE)]
    assert len(constants) == 5
    assert constants == sorted(constants)
    assert constants[-1] > 5 * constants[0]


def test_bad_input_prints_the_promised_line(printed: list[str]) -> None:
    promised = re.search(r"print\(error\)\n# (.*)", BLOCKS[-1])
    assert promised is not None
    assert printed[-1].strip() == promised.group(1).strip()


def test_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), f"README names make {command}"


def test_links_of_the_readme_exist() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), f"README links to {link}"
