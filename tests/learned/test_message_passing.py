"""Message passing: symmetries of linear programs, any sizes, no batch mates, products along non-zeros, and faults that are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from eqtheory.constructions import LinearProgram
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.gradients import Implicit, Phantom, Unrolled, fixed_point
from eqtheory.learned import MessagePassing, ProgramOperator, ScaledProgram, residual_contraction, scaled
from eqtheory.nests import map_tensors, take
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers import OnFailure, Stop

Run = Callable[[LinearProgram], Tensor]
CLOSE = 1e-12
"""Of states of size 1 after a few blocks of some dozens of sums in float64: a few hundred unit roundoffs."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def programs(batch: int = 3, m: int = 4, n: int = 7, nnz: int = 12, seed: int = 0) -> LinearProgram:
    g = seeded(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    places = torch.rand(batch, m * n, generator=g).argsort(dim=1)[:, :nnz].sort(dim=1).values
    ends = normal(batch, n, 2).sort(dim=2).values
    return LinearProgram(
        entries=normal(batch, nnz),
        rows=places // n,
        columns=places % n,
        b=normal(batch, m),
        equality=torch.rand(batch, m, generator=g) < 0.3,
        c=normal(batch, n),
        l=ends[..., 0].contiguous(),
        u=ends[..., 1].contiguous(),
    )


def network(width: int = 5, memory: int = 2) -> MessagePassing:
    block = MessagePassing(width, memory=memory, generator=seeded(1)).double()
    for bias in block.parameters():  # biases begin at zero and would hide faults
        if bias.ndim == 1:
            nn.init.normal_(bias, std=0.3, generator=seeded(2))
    return block


@torch.no_grad()
def iterated(G: ProgramOperator, x: LinearProgram | ScaledProgram, steps: int = 4) -> Tensor:
    state = G.initial_state(x)
    for _ in range(steps):
        state = G(state, x)
    return state


def relabelled(x: LinearProgram, rows: Tensor, columns: Tensor) -> LinearProgram:
    """Row `i` becomes `rows[i]`, variable `j` becomes `columns[j]`; non-zeros are stored in another order."""
    shuffle = torch.randperm(x.entries.shape[1], generator=seeded(9))
    back_rows, back_columns = rows.argsort(), columns.argsort()
    return replace(
        x,
        entries=x.entries[:, shuffle],
        rows=rows[x.rows][:, shuffle],
        columns=columns[x.columns][:, shuffle],
        b=x.b[:, back_rows],
        equality=x.equality[:, back_rows],
        c=x.c[:, back_columns],
        l=x.l[:, back_columns],
        u=x.u[:, back_columns],
    )


def worst_of_relabelling(run: Run, x: LinearProgram, memory: int) -> float:
    _, m, n = x.shape
    rows, columns = torch.randperm(m, generator=seeded(3)), torch.randperm(n, generator=seeded(4))
    before, after = run(x), run(relabelled(x, rows, columns))
    there = before[:, n:].reshape(-1, m, memory)[:, rows.argsort()].flatten(1)
    return float((torch.cat([before[:, :n][:, columns.argsort()], there], dim=1) - after).abs().max())


def worst_of_batch_mates(run: Run, x: LinearProgram) -> float:
    batch = x.shape[0]
    alone = torch.cat([run(take(x, torch.tensor([k]), batch)) for k in range(batch)])
    return float((run(x) - alone).abs().max())


@pytest.mark.parametrize("written_out", [False, True])
def test_relabelling_rows_and_variables_relabels_results(written_out: bool) -> None:
    G = ProgramOperator(network())
    assert worst_of_relabelling(lambda x: iterated(G, scaled(x, written_out=written_out)), programs(), 2) < CLOSE


@pytest.mark.parametrize("written_out", [False, True])
def test_an_instance_does_not_see_its_batch_mates(written_out: bool) -> None:
    G = ProgramOperator(network())
    assert worst_of_batch_mates(lambda x: iterated(G, scaled(x, written_out=written_out)), programs()) < CLOSE


def test_rows_that_are_told_apart_by_their_place_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, right=at.right + 1e-3 * torch.arange(at.right.shape[1])))

    assert worst_of_relabelling(fault, programs(), 2) > 1e-6


def test_variables_that_are_told_apart_by_their_place_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, costs=at.costs + 1e-3 * torch.arange(at.costs.shape[1])))

    assert worst_of_relabelling(fault, programs(), 2) > 1e-6


def test_costs_that_are_centred_over_the_whole_batch_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, costs=at.costs - at.costs.mean()))

    assert worst_of_batch_mates(fault, programs()) > 1e-6


def test_products_along_non_zeros_are_those_of_the_matrix() -> None:
    x = programs()
    sparse, dense = scaled(x, written_out=False), scaled(x, written_out=True)
    assert sparse.matrix.ndim == 2
    assert dense.matrix.ndim == 3
    v, w = torch.randn(3, 7, 5, generator=seeded(5)).double(), torch.randn(3, 4, 5, generator=seeded(6)).double()
    assert torch.allclose(sparse.times(v), dense.matrix @ v, rtol=0, atol=CLOSE)
    assert torch.allclose(sparse.transposed(w), dense.matrix.mT @ w, rtol=0, atol=CLOSE)
    # The rows of the scaled matrix have length 1, positions and bounds are those of the statement.
    assert torch.allclose(dense.matrix.square().sum(dim=2), (dense.matrix != 0).any(dim=2).double())
    point = x.l + 0.25 * (x.u - x.l)
    assert torch.allclose(dense.position(point), torch.full_like(point, -0.5))
    assert torch.allclose(dense.position(x.u + 5), torch.ones_like(point))


SYMMETRIES: dict[str, Callable[[LinearProgram], LinearProgram]] = {
    "costs times 1000": lambda x: replace(x, c=1000 * x.c),
    "rows times numbers": lambda x: replace(
        x, entries=x.entries * (1.0 + x.rows), b=x.b * torch.arange(1.0, x.b.shape[1] + 1)
    ),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_what_leaves_the_solution_alone_leaves_the_result_alone(name: str) -> None:
    G, x = ProgramOperator(network()), programs()
    assert torch.allclose(iterated(G, SYMMETRIES[name](x)), iterated(G, x), rtol=0, atol=CLOSE)


def test_variables_in_other_units_change_units_of_the_result() -> None:
    block, x = network(), programs()
    other = replace(x, entries=x.entries / 3, c=x.c / 3, l=3 * x.l, u=3 * x.u)
    with torch.no_grad():
        at, there = scaled(x), scaled(other)
        one, two = block(block.zero_state(at), at), block(block.zero_state(there), there)
    assert torch.allclose(3 * one[:, :7], two[:, :7], rtol=0, atol=CLOSE)
    assert torch.allclose(one[:, 7:], two[:, 7:], rtol=0, atol=CLOSE)


def moved(x: LinearProgram, way: Tensor) -> LinearProgram:
    reached = torch.zeros_like(x.b).scatter_add(1, x.rows, x.entries * way.gather(1, x.columns))
    return replace(x, b=x.b + reached, l=x.l + way, u=x.u + way)


def test_a_block_moves_along_with_the_box_and_iterations_from_zero_do_not() -> None:
    G, x = ProgramOperator(network()), programs()
    way = torch.randn(3, 7, generator=seeded(7)).double()
    there = moved(x, way)
    zero = torch.zeros(3, 8).double()
    with torch.no_grad():
        one, two = (G(torch.cat([at.l + 0.3 * (at.u - at.l), zero], dim=1), at) for at in (x, there))
    assert torch.allclose(one[:, :7] + way, two[:, :7], rtol=0, atol=CLOSE)
    assert torch.allclose(one[:, 7:], two[:, 7:], rtol=0, atol=CLOSE)
    assert float((iterated(G, x)[:, :7] + way - iterated(G, there)[:, :7]).abs().max()) > 1e-2


def in_units(x: LinearProgram, costs: float, rows: float, variables: float) -> LinearProgram:
    """The same programs, with costs, rows and variables in other units."""
    c = x.c * costs / variables
    return replace(x, entries=x.entries * rows / variables, b=x.b * rows, c=c, l=x.l * variables, u=x.u * variables)


UNITS = {
    torch.float32: [(1e20, 1, 1), (1e-25, 1, 1), (1, 1e25, 1), (1, 1e-30, 1), (1, 1, 1e20), (1, 1, 1e-20)],
    torch.float64: [(1e200, 1e200, 1), (1e-200, 1e-170, 1), (1, 1, 1e160), (1, 1, 1e-160), (1e-100, 1e100, 1e200)],
}


@pytest.mark.parametrize("written_out", [False, True])
@pytest.mark.parametrize("dtype", UNITS)
def test_units_of_any_size_change_nothing(dtype: torch.dtype, written_out: bool) -> None:
    x = map_tensors(lambda t: t.to(dtype) if t.dtype.is_floating_point else t, programs())
    at = scaled(x, written_out=written_out)
    for units in UNITS[dtype]:
        there = scaled(in_units(x, *units), written_out=written_out)
        # Every number of the data is rounded a few times by `in_units`, and right sides are differences of such.
        close = 1e3 * torch.finfo(dtype).eps
        for name in ("matrix", "right", "costs", "relative_size"):
            assert torch.allclose(getattr(there, name), getattr(at, name), rtol=close, atol=close), (units, name)


def test_units_that_differ_by_powers_of_two_give_the_same_bits() -> None:
    x = programs()
    one, two = scaled(x), scaled(in_units(x, 2.0**300, 2.0**-200, 2.0**70))
    for name in ("matrix", "right", "costs", "relative_size"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name


def test_boxes_as_large_as_floats_are_scaled_and_what_is_not_finite_is_refused() -> None:
    x = programs()
    wide = scaled(replace(x, l=torch.full_like(x.l, -1e308), u=torch.full_like(x.u, 1e308)))
    assert bool(torch.isfinite(wide.matrix).all())
    assert bool((wide.half == 1e308).all())
    for name, where in (("entries", "coefficients"), ("b", "right sides"), ("c", "costs"), ("l", "coefficients")):
        spoilt = getattr(x, name).clone()
        spoilt[2, x.columns[2, 3] if name == "l" else 3] = torch.nan
        with pytest.raises(
            NonFiniteError, match=f"scaled {where} of instance 2 that are not finite, needed finite data"
        ):
            # A program of another kind, which has not looked at its numbers.
            scaled(SimpleNamespace(**{**vars(x), name: spoilt}))  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match=r"scaled right sides of instance 0.*not so far apart"):
        scaled(replace(x, entries=1e-200 * x.entries, b=1e200 * x.b))


def test_points_leave_the_box_by_rounding_only() -> None:
    block = network()
    with torch.no_grad():
        block.variables_out.bias.fill_(100.0)  # tanh is 1
    g = seeded(8)
    ends = (
        torch.randn(1, 4000, 2, generator=g).double() * 10 ** (6 * torch.rand(1, 4000, 2, generator=g).double())
    ).sort(2)
    l, u = ends.values[..., 0].contiguous(), ends.values[..., 1].contiguous()  # noqa: E741
    x = replace(programs(1, 4, 4000), l=l, u=u)
    with torch.no_grad():
        beyond = block(block.zero_state(scaled(x)), scaled(x))[:, :4000] - u
    assert bool((beyond > 0).any())
    assert bool((beyond <= 3 * unit_roundoff(torch.float64) * torch.maximum(l.abs(), u.abs())).all())


def by_the_statement(block: MessagePassing, state: Tensor, x: LinearProgram) -> Tensor:
    """The first instance, row by row and variable by variable, from the raw data and the formulas at the head of the module."""
    m, n = x.shape[1:]
    A = torch.zeros(m, n).double()
    A[x.rows[0], x.columns[0]] = x.entries[0]
    mid, half = (x.l[0] + x.u[0]) / 2, (x.u[0] - x.l[0]) / 2
    s = [(A[i] * half).norm() for i in range(m)]
    M = torch.stack([A[i] * half / s[i] for i in range(m)])
    beta = torch.stack([(x.b[0, i] - A[i] @ mid) / s[i] for i in range(m)])
    g = x.c[0] * half / (x.c[0] * half).square().mean().sqrt()
    size = half / half.square().mean().sqrt()
    z = ((state[0, :n] - mid) / half).clamp(-1, 1)
    p = state[0, n:].reshape(m, -1)
    r = M @ z - beta

    def act(t: Tensor) -> Tensor:
        return torch.where(t > 0, t, 0.1 * t)

    v = [act(block.variables_in(torch.stack([z[j], g[j], size[j]]))) for j in range(n)]
    w = [
        act(block.rows_in(torch.cat([p[i], torch.stack([r[i], beta[i], x.equality[0, i].double()])]))) for i in range(m)
    ]
    for U, V in zip(block.to_rows, block.to_variables, strict=True):
        heard = [sum((M[i, j] * v[j] for j in range(n)), torch.zeros(block.width).double()) for i in range(m)]
        w = [w[i] + act(U(torch.cat([w[i], heard[i]]))) for i in range(m)]
        told = [sum((M[i, j] * w[i] for i in range(m)), torch.zeros(block.width).double()) for j in range(n)]
        v = [v[j] + act(V(torch.cat([v[j], told[j]]))) for j in range(n)]
    y = torch.stack([mid[j] + half[j] * block.variables_out(v[j])[0].tanh() for j in range(n)])
    return torch.cat([y, torch.cat([block.rows_out(w[i]) for i in range(m)])])


@pytest.mark.parametrize("written_out", [False, True])
def test_a_block_is_what_its_statement_says(written_out: bool) -> None:
    block, x = network(), programs(2, 4, 6, 14)
    x = replace(x, equality=torch.tensor([[True, False, False, True]]).expand(2, 4))
    state = torch.randn(2, 14, generator=seeded(3)).double()
    with torch.no_grad():
        wanted = by_the_statement(block, state, x)
        assert torch.allclose(block(state, scaled(x, written_out=written_out))[0], wanted, rtol=0, atol=CLOSE)
        G, weight = ProgramOperator(block), block.weight_logit.sigmoid()
        kept = torch.cat([state[0, :6].clamp(x.l[0], x.u[0]), state[0, 6:]])
        assert torch.allclose(G(state, x)[0], (1 - weight) * kept + weight * wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("m", "n", "nnz"), [(1, 1, 1), (2, 9, 4), (6, 3, 18), (20, 40, 41)])
def test_one_network_takes_programs_of_any_size(m: int, n: int, nnz: int) -> None:
    G = ProgramOperator(network())
    x = programs(2, m, n, nnz)
    state = iterated(G, x)
    assert state.shape == (2, n + 2 * m)
    assert bool(((state[:, :n] >= x.l - CLOSE) & (state[:, :n] <= x.u + CLOSE)).all())
    assert worst_of_relabelling(lambda at: iterated(G, at), x, 2) < CLOSE


def test_what_can_not_be_scaled_stays_finite_with_its_derivatives() -> None:
    x = programs()
    l, u = x.l.clone(), x.u.clone()  # noqa: E741
    u[0, 2] = l[0, 2]
    u[1] = l[1]
    x = replace(x, entries=torch.where(x.rows == 0, 0.0, x.entries), c=0 * x.c, l=l, u=u)
    inputs = [t.clone().requires_grad_() for t in (x.entries, x.b, x.c, x.l, x.u)]
    x = replace(x, **dict(zip(("entries", "b", "c", "l", "u"), inputs, strict=True)))
    G = ProgramOperator(network())
    state = G(G(G.initial_state(x), x), x)
    state.sum().backward()
    assert bool(torch.isfinite(state).all())
    assert all(t.grad is not None and bool(torch.isfinite(t.grad).all()) for t in inputs)
    assert torch.allclose(state[1, :7], x.l[1])


def test_derivatives_in_the_data_are_those_of_differences() -> None:
    x = programs(1)
    G = ProgramOperator(network())

    def run(*parts: Tensor) -> Tensor:
        at = replace(x, **dict(zip(("entries", "b", "c", "l", "u"), parts, strict=True)))
        return G(G(G.initial_state(at), at), at)

    inputs = [t.clone().requires_grad_() for t in (x.entries, x.b, x.c, x.l, x.u)]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("gradient", [Phantom(steps=3, relaxation=1.0), Implicit(), Unrolled()])
def test_every_gradient_trains_every_weight(gradient: object) -> None:
    block, x = network(), programs()
    with torch.no_grad():  # a contraction, so that the equation can be solved
        for weight in block.parameters():
            weight.mul_(0.4)
    G = ProgramOperator(block)
    found = fixed_point(
        G, scaled(x), gradient=gradient, stop=Stop(rtol=1e-10, max_steps=300), on_failure=OnFailure.RETURN
    )
    (found.value.square().mean() + residual_contraction(G, found.value, scaled(x)).sum()).backward()
    for name, weight in block.named_parameters():
        assert weight.grad is not None, name
        assert bool(torch.isfinite(weight.grad).all()), name


def test_an_explicit_and_an_implicit_model_of_a_width_have_the_same_parameters() -> None:
    # Linear maps of 3 and 5 numbers, two rounds there and back, and out to 1 and 2 numbers; the iteration's weight.
    for width, wanted in ((4, 200), (8, 652), (32, 8740)):
        assert MessagePassing(width, memory=2).parameter_count == wanted


def test_messages_of_errors() -> None:
    x = programs()
    block = network()
    with pytest.raises(
        ShapeError, match=r"shape \(3, 7\), needed \(3, 15\): 7 variables and 2 numbers for each of 4 rows"
    ):
        block(torch.zeros(3, 7).double(), scaled(x))
    l = x.l.clone()  # noqa: E741
    l[1, 3] = -torch.inf
    with pytest.raises(DomainError, match="no bound on variable 3 of instance 1, needed two finite bounds"):
        scaled(replace(x, l=l))
    with pytest.raises(InputError, match="width"):
        MessagePassing(0)
    with pytest.raises(InputError, match="a MessagePassing"):
        ProgramOperator(nn.Linear(1, 1))  # type: ignore[arg-type]


def test_blocks_in_float32_stay_in_float32() -> None:
    x = map_tensors(lambda t: t.float() if t.dtype.is_floating_point else t, scaled(programs()))
    assert iterated(ProgramOperator(MessagePassing(4)), x).dtype is torch.float32
