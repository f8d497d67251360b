"""Every code block of the pages under docs/ runs, and every link of theirs leads somewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from eqtheory import solvers

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))


@pages
def test_blocks_run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        with redirect_stdout(io.StringIO()):
            exec(compile(block, str(page), "exec"), names)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_solver_page_names_every_solver() -> None:
    text = (DOCS / "solvers.md").read_text()
    public = [getattr(solvers, name) for name in solvers.__all__]
    kinds = [found for found in public if isinstance(found, type) and issubclass(found, solvers.Solver)]
    assert len(kinds) >= 9
    for kind in kinds:
        assert kind is solvers.Solver or f"`{kind.__name__}(" in text, kind.__name__
