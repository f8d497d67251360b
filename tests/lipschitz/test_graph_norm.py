"""Norms of graph filters against the dense Kronecker sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz import bipartite_operator_norm, graph_operator_norm
from eqtheory.lipschitz.layers import _adjacency
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from tests.lipschitz.dense_maps import true_norm

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # torch announces that CSR is in beta
NORMS: tuple[Norm, ...] = (Euclidean(), Sum(), Sup())
N = 12


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normalised(A: Tensor) -> Tensor:
    roots = A.sum(1).rsqrt()
    return roots[:, None] * A * roots


def graphs() -> dict[str, Tensor]:
    path = torch.diag(torch.ones(N - 1, dtype=torch.float64), 1)
    path = path + path.T
    cycle = path.clone()
    cycle[0, -1] = cycle[-1, 0] = 1
    star = torch.zeros(N, N, dtype=torch.float64)
    star[0, 1:] = star[1:, 0] = 1
    edges = (draw(0, N, N) > 0.5).double().triu(1)
    linked = path.clamp_min(edges + edges.T)
    parts = torch.zeros(N, N, dtype=torch.float64)
    parts[:5, 5:] = 1
    return {
        "path": path,
        "cycle": cycle,
        "star": star,
        "random": linked,
        "bipartite": parts + parts.T,
        "laplacian": torch.diag(linked.sum(1)) - linked,
        "normalised": normalised(linked + torch.eye(N)),
        "directed": draw(1, N, N),
        "edgeless": torch.zeros(N, N, dtype=torch.float64),
    }


def kronecker(A: Tensor, weights: list[Tensor | None]) -> Tensor:
    terms = [
        torch.kron(torch.linalg.matrix_power(A, k), W.T.contiguous()) for k, W in enumerate(weights) if W is not None
    ]
    return torch.stack(terms).sum(0)


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("powers", [(0,), (1,), (0, 1), (0, 1, 2), (3,)])
def test_the_norm_is_bracketed_and_in_l2_exact(name: str, powers: tuple[int, ...]) -> None:
    A = graphs()[name]
    weights = [draw(10 + k, 3, 4) if k in powers else None for k in range(max(powers) + 1)]
    K = kronecker(A, weights)
    for norm in NORMS:
        truth = true_norm(K, norm.name)
        for layout in (A, A.to_sparse_coo().coalesce(), A.to_sparse_csr()):
            found = graph_operator_norm(layout, weights, norm=norm)
            assert found.lower.value <= truth * (1 + 1e-13)
            assert found.upper.value >= truth * (1 - 1e-13)
            assert found.upper.value <= truth * (1 + 1e-9)
            # Ascent may stop below the norm; it is a lower bound wherever it stops.
            assert found.lower.value >= (0.99 if isinstance(norm, Euclidean) else 0.6) * truth


@pytest.mark.parametrize("name", ["path", "cycle", "star", "random", "bipartite"])
def test_a_symmetrically_normalised_adjacency_has_norm_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A = normalised(graphs()[name])
    assert graph_operator_norm(A, [None, torch.eye(2)]).upper.value == pytest.approx(1.0, abs=1e-9)
    monkeypatch.setattr(_adjacency, "_DENSE_NODES", 0)  # Schur's test alone
    assert graph_operator_norm(A, [None, torch.eye(2)]).upper.value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", sorted(graphs()))
def test_large_graphs_are_bounded_in_time_linear_in_the_edges(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same graphs with every dense path closed."""
    monkeypatch.setattr(_adjacency, "_DENSE_NODES", 0)
    monkeypatch.setattr("eqtheory.lipschitz.layers._graph_norm._WRITTEN_OUT", 0)
    A = graphs()[name]
    weights: list[Tensor | None] = [draw(20, 3, 4), draw(21, 3, 4), draw(22, 3, 4)]
    for used in (weights[:2], weights):
        for norm in NORMS:
            truth = true_norm(kronecker(A, used), norm.name)
            found = graph_operator_norm(A.to_sparse_csr(), used, norm=norm)
            assert found.lower.value <= truth * (1 + 1e-13)
            assert found.upper.value >= truth * (1 - 1e-13)
    positive = graph_operator_norm(A.abs(), [None, torch.eye(2)])
    assert positive.upper.value <= true_norm(A.abs(), "l2") * (1 + 1e-6)


def test_schur_weights_need_no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights from a power iteration that is stopped at once, or that are nonsense, still prove a bound."""
    for steps in (1, 2):
        monkeypatch.setattr(_adjacency, "_STEPS", steps)
        for A in graphs().values():
            entries = _adjacency.Adjacency.of(A)
            assert _adjacency.schur_bound(entries) >= true_norm(A, "l2") * (1 - 1e-13)
    monkeypatch.setattr(_adjacency, "_positive", lambda weights: 0.1 + draw(30, *weights.shape).abs())
    for A in graphs().values():
        assert _adjacency.schur_bound(_adjacency.Adjacency.of(A)) >= true_norm(A, "l2") * (1 - 1e-13)


def test_a_sparse_graph_of_twenty_thousand_nodes() -> None:
    n, source = 20_000, torch.Generator().manual_seed(0)
    ends = torch.randint(0, n, (2, 60_000), generator=source)
    indices = torch.cat([ends, ends.flip(0)], dim=1)
    A = torch.sparse_coo_tensor(indices, torch.ones(indices.shape[1]), (n, n)).coalesce()
    rows, columns = A.indices()
    degrees = torch.bincount(rows, minlength=n).double()
    A = torch.sparse_coo_tensor(A.indices(), (degrees[rows] * degrees[columns]).rsqrt(), (n, n)).coalesce()
    found = graph_operator_norm(A, [None, 2 * torch.eye(2)])
    assert found.upper.value == pytest.approx(2.0, rel=1e-9)
    assert found.lower.value > 1.9


def test_weights_normalised_in_floating_point_are_nearly_symmetric() -> None:
    """Rounding breaks the symmetry in the last place; the bound stays that of the symmetric matrix."""
    edges = draw(40, N, N).abs().triu(1)
    A = edges + edges.T + torch.eye(N)
    roots = A.sum(1).rsqrt()
    A = (roots[:, None] * A) * roots
    assert not torch.equal(A, A.T)
    for last in (1, 2):
        weights: list[Tensor | None] = [draw(41 + k, 3, 4) for k in range(last + 1)]
        truth = true_norm(kronecker(A, weights), "l2")
        for layout in (A, A.to_sparse_csr()):
            found = graph_operator_norm(layout, weights)
            assert found.lower.value <= truth * (1 + 1e-13)
            assert truth * (1 - 1e-13) <= found.upper.value <= truth * (1 + 1e-9)
            assert "symmetric part" in found.upper.method or found.upper.method == "Cholesky test of the dense matrix"


def test_messages_between_two_kinds_of_nodes() -> None:
    A, U, W = draw(2, 5, 8), draw(3, 3, 4), draw(4, 2, 4)
    own = torch.kron(torch.eye(5, dtype=torch.float64), U.T.contiguous())
    K = torch.cat([own, torch.kron(A, W.T.contiguous())], dim=1)
    for norm in NORMS:
        truth, found = true_norm(K, norm.name), bipartite_operator_norm(A, U, W, norm=norm)
        assert found.lower.value <= truth * (1 + 1e-13)
        assert truth * (1 - 1e-13) <= found.upper.value <= truth * (1 + 1e-9)
        assert found.lower.value >= 0.6 * truth


def test_refusals() -> None:
    A, W = torch.eye(3), torch.eye(2)
    with pytest.raises(ShapeError, match=r"adjacency: got shape \(2, 3\), needed a square matrix"):
        graph_operator_norm(torch.ones(2, 3), [W])
    with pytest.raises(InputError, match=r"weights: got no matrix, needed at least one"):
        graph_operator_norm(A, [None])
    with pytest.raises(ShapeError, match=r"weights: got .*needed equal shapes"):
        graph_operator_norm(A, [W, torch.ones(2, 3)])
    with pytest.raises(ShapeError, match=r"weights\[0\]: got shape \(2,\)"):
        graph_operator_norm(A, [torch.ones(2)])
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.ones(2), (3, 3))
    with pytest.raises(InputError, match=r"adjacency: got COO entries that may repeat.*call .coalesce"):
        graph_operator_norm(twice, [W])
    with pytest.raises(InputError, match=r"adjacency: got dtype torch.complex64"):
        graph_operator_norm(A * 1j, [W])
    with pytest.raises(ShapeError, match=r"adjacency: got shape"):
        graph_operator_norm(torch.ones(2, 3, 3), [W])
    with pytest.raises(ShapeError, match=r"neighbour_weight: got shape \(2, 2\), needed \(features, 3\)"):
        bipartite_operator_norm(torch.ones(2, 3), torch.ones(2, 3), W)
