"""What has once deceived an audit, or made it accuse the innocent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eqtheory import audit
from eqtheory.auditing import Audit
from eqtheory.bounds import Bound, Evidence, Side, VerdictKind
from eqtheory.constructions import Reciprocal
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import Search
from eqtheory.norms import Euclidean
from eqtheory.operators import FunctionOperator, Regularity

QUICK = Search(steps=20, rounds=2, kept=8)
PROVED, REFUTED, OPEN = VerdictKind.PROVED, VerdictKind.REFUTED, VerdictKind.NOT_REFUTED


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        draws = torch.randn(2, n, *shape, generator=g, dtype=torch.float64).to(dtype)
        return draws[0], draws[1]

    return sample


def kinds(found: Audit) -> dict[str, VerdictKind]:
    return {check: verdict.kind for check, verdict in found.verdicts.items()}


# Never proved.


def test_labels_that_change_the_factor_are_no_constants() -> None:
    gain = torch.full((10,), 0.5).double()
    gain[7] = 3.0

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Any]:
        y, x = normal(3)(n, g)
        return y, (x, torch.arange(n) % 10)

    found = audit(lambda y, x: gain[x[1]].unsqueeze(1) * torch.tanh(y) + x[0], sample, samples=64, search=QUICK)
    assert found.verdicts["R1"].kind is REFUTED
    assert float(found.R1.lower.value) == pytest.approx(3.0, rel=1e-3)  # type: ignore[union-attr]
    assert found.verdicts["R2"].kind is OPEN


def test_one_sample_gets_company() -> None:
    found = audit(lambda y, x: 0.5 * y + x + 5 * (y - y.mean(0, keepdim=True)), normal(3), samples=1, search=QUICK)
    assert kinds(found)["batch_independent"] is REFUTED
    assert audit(lambda y, x: 0.5 * y + x, normal(3), samples=1, search=QUICK).conclusion.startswith("regular")


@pytest.mark.parametrize("size", [(3, 8, 8), (3, 32, 32)])
def test_coupled_images_are_seen_in_single_precision(size: tuple[int, ...]) -> None:
    bn = nn.BatchNorm2d(3)
    sample = normal(*size, dtype=torch.float32)
    for G in (lambda y, x: 0.5 * bn(y) + x, lambda y, x: 0.5 * y + x + 0.1 * (y - y.mean(0, keepdim=True))):
        found = audit(G, sample, samples=16, search=QUICK, steps=3)
        assert kinds(found)["batch_independent"] is REFUTED
        assert PROVED not in kinds(found).values()


def test_labels_of_proofs_are_not_believed_whoever_wears_them() -> None:
    def mine(value: float) -> Bound:
        return Bound(value, Side.UPPER, "my word", Evidence.PROVED, "l2")

    claim = Regularity(mine(0.9), mine(5.0), mine(5.0), Euclidean(), Euclidean())
    G = FunctionOperator(lambda y, x: torch.where(x > 1e3, 2 * y, 0.5 * y) + x, regularity=claim)
    assert kinds(audit(G, normal(2), samples=32, search=QUICK))["R1"] is not PROVED
    r = Reciprocal(0.5)
    r.regularity = claim
    x = torch.rand(32, generator=torch.Generator().manual_seed(0)).double() + 1e-3
    assert kinds(audit(r, (torch.zeros_like(x), x), search=QUICK))["R1"] is not PROVED


def test_an_operator_that_changes_while_it_is_used_is_seen_at_the_end() -> None:
    class Tiring:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, y: Tensor, x: Tensor) -> Tensor:
            self.calls += 1
            return (0.5 if self.calls < 100 else 3.0) * y + x

    found = audit(Tiring(), normal(2), samples=32, search=QUICK)
    assert PROVED not in kinds(found).values()
    assert kinds(found)["deterministic"] is REFUTED


def test_a_wrong_forward_rule_is_seen() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(y: Tensor) -> Tensor:
            return 0.5 * y

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return 0.5 * g

        @staticmethod
        def jvp(ctx: Any, t: Tensor) -> Tensor:
            return 7 * t

    found = audit(lambda y, x: Wrong.apply(y) + x, normal(2), samples=16, search=QUICK)
    assert found.verdicts["gradient"].kind is REFUTED
    assert "forward derivative" in str(found.verdicts["gradient"].witness)


# Never refuted without cause.


@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("function", [lambda y: 0.5 * y, lambda y: 0.5 * torch.cos(y), lambda y: 0.5 * torch.tanh(y)])
def test_single_precision_is_not_taken_for_a_wrong_derivative(d: int, function: Callable[[Tensor], Tensor]) -> None:
    for seed in range(4):
        g = torch.Generator().manual_seed(seed)
        found = audit(
            lambda y, x: function(y) + x,
            normal(d, dtype=torch.float32),
            samples=128,
            search=QUICK,
            steps=3,
            generator=g,
        )
        assert REFUTED not in kinds(found).values(), str(found)


def test_samples_outside_a_given_domain_say_nothing_about_it() -> None:
    found = audit(lambda y, x: y**2 + 0 * x, normal(2), domain=((-0.4, 0.4), (0.0, 1.0)), samples=64, search=QUICK)
    assert kinds(found)["R1"] is PROVED
    assert float(found.R1.upper.value) == pytest.approx(0.8, rel=1e-6)  # type: ignore[union-attr]


def test_a_proof_comes_before_the_resolution() -> None:
    assert kinds(audit(lambda y, x: 0.9999999 * y + x, normal(2), samples=32, search=QUICK))["R1"] is PROVED


@pytest.mark.parametrize(
    "G",
    [
        lambda y, x: 0.5 * torch.sin(y + 1e4) + x,
        lambda y, x: (0.5 * torch.tanh(y.bfloat16())).float() + x,
    ],
)
def test_a_program_that_rounds_inside_is_not_refuted_against_its_own_proof(G: Any) -> None:
    found = audit(G, normal(4, dtype=torch.float32), samples=64, search=QUICK)
    assert kinds(found)["R1"] is not REFUTED
    assert kinds(found)["R1"] is PROVED or any("rounds coarsely" in note for note in found.notes)


def test_mixed_precision_is_as_coarse_as_its_narrowest_type() -> None:
    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        y, x = normal(3)(n, g)
        return y.float(), x

    assert REFUTED not in kinds(audit(lambda y, x: 0.5 * y + x.float(), sample, samples=64, search=QUICK)).values()


def test_half_precision_is_looked_at() -> None:
    found = audit(lambda y, x: 0.5 * y + x, normal(3, dtype=torch.bfloat16), samples=16, search=QUICK, steps=3)
    assert kinds(found)["batch_independent"] is OPEN


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_refutes_expansions_and_no_contraction(dtype: torch.dtype) -> None:
    """Neither can be traced, so that slopes alone decide."""

    def scaled(factor: float) -> Any:
        return lambda y, x: factor * y + x if float(y.detach().sum()) > -1e9 else y

    quick = Search(steps=1, rounds=1, kept=2)
    half = audit(scaled(0.5), normal(2, dtype=dtype), samples=16, steps=2, search=quick)
    assert kinds(half)["R1"] is OPEN
    assert any("a little above one pass in" in note for note in half.notes)
    triple = audit(scaled(3.0), normal(2, dtype=dtype), samples=16, steps=2, search=quick)
    assert kinds(triple)["R1"] is REFUTED
    assert 1.0 < float(triple.R1.lower.value) <= 3.0  # type: ignore[union-attr]


# Whatever comes, nothing breaks and nothing is left behind.


def test_modules_stay_as_they_were() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, y: Tensor, x: Tensor) -> Tensor:
            out = 0.5 * torch.tanh(self.lin(y)) + x
            self.mean = 0.9 * self.mean + 0.1 * out.detach().mean(0)
            return out

    G = Remembering()
    before = {name: t.clone() for name, t in G.state_dict().items()}
    drawn = torch.random.get_rng_state()
    audit(G, normal(3, dtype=torch.float32), samples=16, search=QUICK, steps=3)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert G.training
    assert all(type(t) is type(before[name]) and torch.equal(t, before[name]) for name, t in G.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in G.parameters())


@pytest.mark.parametrize("x", [None, 0.5, "labels"])
def test_inputs_without_coordinates(x: Any) -> None:
    table = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)).double()

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Any]:
        return normal(3)(n, g)[0], torch.arange(n) % 10 if x == "labels" else x

    def G(y: Tensor, given: Any) -> Tensor:
        return 0.5 * y + (table[given] if isinstance(given, Tensor) else 1.0)

    found = audit(G, sample, samples=32, search=QUICK)
    assert kinds(found)["R2"] is OPEN
    assert "no coordinates" in found.verdicts["R2"].method
    assert REFUTED not in kinds(found).values()


def test_shared_weights_are_not_taken_for_a_batch() -> None:
    W = 0.5 * torch.eye(64).double()

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Any]:
        y, b = normal(64)(n, g)
        return y, {"W": W, "b": b}

    found = audit(lambda y, x: y @ x["W"] + x["b"], sample, samples=64, search=QUICK, steps=3)
    assert found.made["settings"]["samples"] == 65
    assert REFUTED not in kinds(found).values()


@pytest.mark.parametrize(
    ("G", "says"),
    [
        (lambda y, x: y / 0 if False else 1 / 0, "raises ZeroDivisionError"),
        (lambda y, x: y @ torch.ones(7, 7), "raises RuntimeError"),
        (lambda y, x: "state", "a str comes back"),
    ],
)
def test_operators_that_fail_are_refuted_in_words(G: Any, says: str) -> None:
    found = audit(G, normal(3), samples=8, search=QUICK)
    assert says in str(found.verdicts["shape"].witness)


def test_unusual_layers_do_not_break_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attention = nn.MultiheadAttention(4, 2, batch_first=True).eval()

        def G(y: Tensor, x: Tensor) -> Tensor:
            return 0.1 * attention(y, y, y)[0] + x

        found = audit(G, normal(3, 4, dtype=torch.float32), samples=8, search=QUICK, steps=3)
    assert kinds(found)["R1"] is not PROVED
    cell = nn.GRUCell(3, 3)
    assert (
        kinds(audit(lambda y, x: cell(x, y), normal(3, dtype=torch.float32), samples=8, search=QUICK, steps=3))["shape"]
        is OPEN
    )


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"operator: got int, needed a callable \(y, x\) -> y"):
        audit(3, normal(2))  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"sampler: got int, needed a callable \(n, generator\) -> \(y, x\), or a pair"
    ):
        audit(lambda y, x: y, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"sampler: got Tensor, needed a pair: states, a tensor, and inputs"):
        audit(lambda y, x: y, lambda n, g: torch.zeros(n, 2))  # type: ignore[arg-type, return-value]
    with pytest.raises(NonFiniteError, match=r"sampler's x: got a NaN or an infinity"):
        audit(lambda y, x: y, (torch.zeros(2, 2), torch.full((2, 2), torch.inf)))
    with pytest.raises(ShapeError, match=r"sampler: got states of shape \(2, 0\), needed at least one entry"):
        audit(lambda y, x: y, (torch.zeros(2, 0), torch.zeros(2, 2)))
    with pytest.raises(ShapeError, match=r"sampler: got inputs without the batch axis of the states"):
        audit(lambda y, x: y, (torch.zeros(2, 2), torch.zeros(5, 2)))
    for pair, came in (
        ((torch.tensor(1.0), torch.tensor(1.0)), "a tensor without axes"),
        ((1.0, 2.0), "float"),
        (([1.0, 2.0], [1.0, 2.0]), "list"),
    ):
        with pytest.raises(InputError, match=rf"sampler: got states that are {came}, needed a tensor \(n, \.\.\.\)"):
            audit(lambda y, x: y, pair)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"resolution: got 2, needed 0 < resolution < 1"):
        audit(lambda y, x: y, normal(2), resolution=2)
