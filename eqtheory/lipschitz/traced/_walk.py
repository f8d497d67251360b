r"""The walk over a traced program, node by node: constants are computed, everything else becomes a value by its rule.

What has no rule is refused by name, never guessed. So is chance, what changes a tensor in place, and what makes whole numbers
of the arguments: comparisons, signs and roundings jump.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from eqtheory.errors import EqTheoryError, NotBoundedError
from eqtheory.lipschitz.traced._activations import ACTIVATIONS
from eqtheory.lipschitz.traced._affine import AFFINE
from eqtheory.lipschitz.traced._call import UNTRACKED, Call, is_dependent, wide
from eqtheory.lipschitz.traced._nonlinear import NONLINEAR
from eqtheory.lipschitz.traced._products import PRODUCTS
from eqtheory.lipschitz.traced._slopes import Scope
from eqtheory.lipschitz.traced._values import Leaf, Value, constant_of
from eqtheory.operators import written_out
from eqtheory.validate import require_finite

__all__ = ["RULES", "graph_of", "walk"]

RULES: dict[str, Callable[[Call], Any]] = {**AFFINE, **PRODUCTS, **ACTIVATIONS, **NONLINEAR}
"""What is known to be bounded, by the name of the operation."""

_JUMPS = {
    "round",
    "floor",
    "ceil",
    "trunc",
    "sign",
    "sgn",
    "frac",
    "fmod",
    "remainder",
    "heaviside",
    "hardshrink",
    "bucketize",
}
_SHAPE_ONLY = {
    "new_zeros",
    "new_ones",
    "new_full",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "new_empty",
    "new_empty_strided",
}
_UNWRITTEN = {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"}


def graph_of(function: Callable[..., Any], arguments: Sequence[Tensor]) -> fx.Graph:
    """Trace a function into a graph of tensor operations without side effects.

    Args:
        function: any function of tensors.
        arguments: examples; only shapes and types matter.

    Returns:
        The graph, without what nothing uses.

    Raises:
        NotBoundedError: the program depends on the values of its arguments, or cannot be traced.
        EqTheoryError: what the program itself refuses.
    """
    examples = [a.detach().clone() for a in arguments]  # tensors are told apart by identity: no two may be one

    def called(*tensors: Tensor) -> Any:  # the tracer would ask for arguments that have defaults
        return function(*tensors)

    try:
        with written_out():  # fused kernels count as random, and hide what they compute
            # Twice: what composite operations change in place becomes visible in the first graph, and functional in the second.
            first = make_fx(called, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples)
            _refuse_state(first.graph)
            plain = torch.func.functionalize(first, remove="mutations")
            module = make_fx(plain, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples)
    except EqTheoryError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise NotBoundedError(
            "tracing",
            f"{type(error).__name__}: {lines[0][:160]}",
            "write it with tensor operations, without branches on values and without .item()",
        ) from error
    _refuse_mutation(module.graph)
    module.graph.eliminate_dead_code()
    return module.graph


def _refuse_state(graph: fx.Graph) -> None:
    """Refuse programs that write to a tensor of their own, of which the next call would see the change.

    Raises:
        NotBoundedError: there is such a step.
    """
    own: set[fx.Node] = set()
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        target = node.args[0] if node.args else None
        if node.op == "get_attr":
            own.add(node)
        elif schema is not None and target in own:
            if schema.is_mutable:
                raise NotBoundedError(str(node.target), "changes a tensor that outlives the call", "keep no state")
            if any(r.alias_info is not None for r in schema.returns):  # a view of it
                own.add(node)


def _refuse_mutation(graph: fx.Graph) -> None:
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None and schema.is_mutable:
            raise NotBoundedError(str(node.target), "changes a tensor in place", "return a new tensor instead")


def walk(graph: fx.Graph, scope: Scope, arguments: Sequence[Leaf]) -> Value | Tensor:
    """Follow the values of the arguments through a graph.

    Args:
        graph: from `graph_of`.
        scope: the norm and what is known so far.
        arguments: one leaf per placeholder.

    Returns:
        The value of the output; a tensor if it does not depend on the arguments.

    Raises:
        NotBoundedError: an operation without a rule, or one that its rule refuses; or no tensor comes out.
    """
    known: dict[fx.Node, Any] = {}
    waiting = iter(arguments)
    result: Any = None
    with torch.no_grad():
        for node in graph.nodes:
            if node.op == "placeholder":
                known[node] = next(waiting)
            elif node.op == "get_attr":
                known[node] = _attribute(graph, str(node.target))
            elif node.op == "output":
                result = fx.node.map_arg(node.args[0], known.__getitem__)
            elif node.target is operator.getitem:
                known[node] = known[node.args[0]][node.args[1]]
            else:
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
                try:
                    known[node] = _result(node, scope, tuple(args), dict(kwargs))
                except (OverflowError, ZeroDivisionError) as error:
                    raise NotBoundedError(
                        str(node.target), f"leaves the range of float64 ({error})", "narrow ranges="
                    ) from error
        if not is_dependent(result) and not isinstance(result, Tensor):
            raise NotBoundedError("the output", f"a {type(result).__name__}", "return one tensor")
        constant = result if isinstance(result, Tensor) else constant_of(result)
        require_finite("the output", constant, "some of its entries are constants that are not finite")
    return result


def _attribute(graph: fx.Graph, name: str) -> Any:
    found = graph.owning_module
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, Tensor) or isinstance(found, FakeTensor) or found.layout is not torch.strided:
        raise NotBoundedError(name, f"a constant of type {type(found).__name__}", "use plain dense tensors as weights")
    require_finite(name, found, "repair the weights")
    return wide(found)


def _result(node: fx.Node, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What one operation returns: constants of constants, values of values.

    Returns:
        A tensor, a value, or a tuple of such.

    Raises:
        NotBoundedError: chance, or no rule.
    """
    meta = node.meta.get("val")
    first = next((m for m in pytree.tree_leaves(meta) if isinstance(m, Tensor)), None)
    if not isinstance(node.target, torch._ops.OpOverload) or first is None:  # noqa: SLF001  (the type of operations)
        raise NotBoundedError(str(node.target), "makes a number of a tensor", "keep everything in tensors")
    count = len(meta) if isinstance(meta, (list, tuple)) else 1
    floating = first.dtype.is_floating_point or first.dtype.is_complex
    call = Call(scope, node.target, args, kwargs, tuple(first.shape), first.dtype.is_complex, floating, count)
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        raise call.refuse("draws random numbers", "call .eval() first, or pass them as an argument")
    if any(a is UNTRACKED for a in pytree.tree_leaves((args, kwargs))):
        raise call.refuse(
            "reads positions or statistics that jump", "use only the values of sort, max or a normalisation"
        )
    if not call.dependents() or call.name in _SHAPE_ONLY:
        return _constant(call, first)
    if not floating or call.name in _JUMPS:
        raise call.refuse("jumps where its argument passes a threshold", "replace it by a continuous function")
    rule = RULES.get(call.name)
    if rule is None:
        raise call.refuse("has no rule, so nothing is known of its slope", "write it with operations that have one")
    return rule(call)


def _constant(call: Call, like: Tensor) -> Any:
    if call.name in _UNWRITTEN:  # not a number until it is written
        if not call.is_floating:
            return torch.zeros(like.shape, dtype=like.dtype)
        return torch.full(like.shape, torch.nan, dtype=torch.complex128 if call.is_complex else torch.float64)
    args, kwargs = pytree.tree_map(
        lambda a: torch.zeros(a.shape, dtype=torch.float64) if is_dependent(a) else a, (call.args, call.kwargs)
    )
    found = call.run(args, kwargs)
    return pytree.tree_map(lambda t: wide(t) if isinstance(t, Tensor) else t, found)
