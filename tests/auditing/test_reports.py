"""What an audit leaves behind: text, JSON, one page; the command that makes them."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eqtheory import cli
from eqtheory.auditing import CHECKS, Audit, audit
from eqtheory.constructions import Box, DenseMap, hqs
from eqtheory.lipschitz import Search

QUICK = Search(steps=20, rounds=2, kept=8)


def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    draws = torch.randn(2, n, 3, generator=g, dtype=torch.float64)
    return draws[0], draws[1]


@cache
def good() -> Audit:
    return audit(
        lambda y, x: 0.5 * torch.tanh(y) + x, sample, samples=32, search=QUICK, steps=10, name="good <layer> & co"
    )


@cache
def bad() -> Audit:
    return audit(lambda y, x: 1.5 * y + x, sample, samples=32, search=QUICK, steps=10, name="bad")


class Balanced(HTMLParser):
    """Counts what is opened and not closed, and what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "path", "use"}:
            self.open.append(tag)
        self.loads += [v for k, v in attrs if k in {"src", "href", "xlink:href"} and v and not v.startswith("#")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v for k, v in attrs if k in {"src", "href", "xlink:href"} and v and not v.startswith("#")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"meta", "br", "path", "use"}:
            assert self.open.pop() == tag


@pytest.mark.parametrize("make", [good, bad])
def test_the_page_is_whole_and_loads_nothing(make: object) -> None:
    found: Audit = make()  # type: ignore[operator]
    page = found.to_html()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.loads == []
    assert "<script" not in page
    assert page.count("<svg") == 1
    assert "good <layer>" not in page
    for says in CHECKS.values():
        assert says.replace("'", "&#x27;") in page


def test_names_are_escaped_and_cleaned() -> None:
    assert "Audit of good &lt;layer&gt; &amp; co" in good().to_html()
    silent = audit(lambda y, x: 0.5 * y, sample, samples=4, search=QUICK, steps=2, name="zero\x00byte")
    assert "\x00" not in silent.to_html()


def test_json_is_json() -> None:
    for found in (good(), bad()):
        data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert set(data["verdicts"]) == set(CHECKS)
        assert data["made"]["settings"]["seed"] == 0
        assert data["slopes"]["state"]["lower"]["side"] == "lower bound"
        assert [entry["accuracy"] for entry in data["iterations"]] == [1e-2, 1e-4, 1e-6]
    assert data["verdicts"]["R1"]["witness"].startswith("slope 1.5 between")
    assert data["conclusion"] == "refuted: R1"


def test_text_says_what_is_proved_and_what_is_not() -> None:
    text = str(good())
    assert text.splitlines()[0] == "good <layer> & co: regular: (R1) and (R2) are proved"
    assert re.search(r"slope in the state \(mu\): >= 0\.(4\d+|5) \(proved: .*\), <= 0\.5 \(proved: walk", text)
    assert "certified (factor proved)" in text
    assert "witness: slope 1.5" in str(bad())
    assert "none certified: no factor below 1 is known" in str(bad())


def test_the_same_seed_gives_the_same_audit_and_another_one_says_so() -> None:
    def run(generator: torch.Generator) -> dict[str, object]:
        found = audit(
            lambda y, x: 0.5 * torch.sin(y) + x, sample, samples=16, search=QUICK, steps=3, generator=generator
        )
        data = found.to_dict()
        del data["made"]["made"]
        return data

    assert run(torch.Generator().manual_seed(3)) == run(torch.Generator().manual_seed(3))
    used = torch.Generator().manual_seed(3)
    torch.rand(1, generator=used)
    assert run(used)["made"]["settings"]["seed"] is None  # type: ignore[index]


def test_certified_iterations_are_enough() -> None:
    """T1's a-priori bound, on an operator whose fixed point is known."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.9 * y + 0.1 * x

    found = audit(G, sample, samples=32, search=QUICK, steps=60)
    y, x = sample(32, torch.Generator().manual_seed(0))
    for entry in found.iterations:
        assert entry.certified is not None
        state = y
        for _ in range(entry.certified):
            state = G(state, x)
        assert float(torch.linalg.vector_norm(state - x, dim=1).max()) <= entry.accuracy
        assert (
            entry.certified <= 1.3 * (torch.log(torch.tensor(entry.accuracy / 10)) / torch.log(torch.tensor(0.9))) + 30
        )


LAYERS = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, z, x):
        return self.scale * torch.tanh(z) + x


class Denoiser(nn.Module):
    def forward(self, y, sigma):
        return y - sigma.reshape(-1, 1) * torch.sin(y)


layer = Layer()
expansive = lambda y, x: 2 * y + x


def sampler(n, generator):
    return torch.randn(n, 2, generator=generator), torch.randn(n, 2, generator=generator)


def noisy(n, generator):
    return torch.randn(n, 2, generator=generator), 0.1 + 0.5 * torch.rand(n, generator=generator)


box = ((-1.0, 1.0), (0.1, 0.6))
"""


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "audited_layers"
    (tmp_path / f"{name}.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_the_command_prints_and_writes(layers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "audit"
    words = ["audit", f"{layers}:layer", "--sampler", f"{layers}:sampler", "--samples", "32", "--steps", "5"]
    assert cli.main([*words, "--json", f"{out}.json", "--html", f"{out}.html"]) == 0
    assert capsys.readouterr().out.startswith(f"{layers}:layer: regular")
    assert json.loads(Path(f"{out}.json").read_text())["operator"] == f"{layers}:layer"
    assert Path(f"{out}.html").read_text().startswith("<!doctype html>")


def test_classes_are_made_denoisers_audited_and_domains_used(layers: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "audit",
        f"{layers}:Denoiser",
        "--sampler",
        f"{layers}:noisy",
        "--domain",
        f"{layers}:box",
        "--samples",
        "32",
        "--steps",
        "5",
    ]
    assert cli.main(words) in {0, 1}
    assert "(R1) contractive" in capsys.readouterr().out


def test_refuted_operators_end_with_one(layers: str) -> None:
    words = ["audit", f"{layers}:expansive", "--sampler", f"{layers}:sampler", "--samples", "16", "--steps", "5"]
    assert cli.main(words) == 1


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("nowhere_at_all:layer", "operator: got no module 'nowhere_at_all', needed a module that can be imported"),
        ("{}:nothing", "operator: got no 'nothing' in '{}', needed an object of that module"),
        ("{}", "operator: got '{}', needed package.module:object"),
    ],
)
def test_what_can_not_be_loaded_is_named(
    operator: str, message: str, layers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", operator.format(layers), "--sampler", f"{layers}:sampler"]) == 2
    assert capsys.readouterr().err.startswith(f"eqtheory: {message.format(layers)}")


def test_what_slopes_in_the_input_are_measured_against_is_said() -> None:
    operator = hqs(
        DenseMap(torch.diag(torch.tensor([1.0, 0.5], dtype=torch.float64))), Box(0.0, 1.0), alpha=0.5, beta=1.0
    )
    y, x = torch.rand(2, 8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = audit(operator, (y, x), steps=5)
    assert found.R2 is not None
    assert found.R2.upper is not None
    assert float(found.R2.lower.value) > float(found.R2.upper.value)  # a share of the budget beside L0 itself
    assert found.R2.bracket is None
    text = str(found)
    assert "share of the declared budget that slopes in the input use: >= " in text
    assert "L0: see the share, <= 0.5" in text
    undeclared = audit(lambda y, x: 0.5 * y + x, (y, x), steps=5)
    assert undeclared.R2 is not None
    assert undeclared.R2.bracket is not None
    assert "slope in the input over 1 + |y|: >= " in str(undeclared)
