"""One call of a traced program, as the rules see it: operands that depend on the arguments, constants, and how to run it in float64.

Everything is evaluated in float64: constants of narrower types are what they are, and casts between floating-point types are the
identity, as in exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from eqtheory.errors import NonFiniteError, NotBoundedError
from eqtheory.lipschitz.traced._slopes import EVERYWHERE, Scope, rounded_up
from eqtheory.lipschitz.traced._values import Affine, Gains, Interval, Leaf, Value

__all__ = ["UNTRACKED", "Call", "is_dependent", "wide"]

_WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
UNTRACKED = object()
"""An output that no rule says anything about, such as positions and statistics."""

_SAME_MEANING = {"view": torch.ops.aten.reshape.default, "_unsafe_view": torch.ops.aten.reshape.default}


def is_dependent(value: Any) -> bool:
    """Whether something depends on the arguments of the program.

    Args:
        value: an operand.

    Returns:
        True for values, False for constants.
    """
    return isinstance(value, (Leaf, Affine))


def wide(t: Tensor) -> Tensor:
    """A constant in float64 or complex128; whole numbers and truth values as they are.

    Args:
        t: any tensor.

    Returns:
        The same numbers.
    """
    return t.detach().to(_WIDE.get(t.dtype, t.dtype))


@dataclass(frozen=True, eq=False)
class Call:
    """One node of the graph.

    Args:
        scope: the walk.
        target: the operation.
        args: its positional operands.
        kwargs: its named operands.
        shape: shape of the (first) output.
        is_complex: whether the (first) output is.
        count: number of outputs where they are a list.
    """

    scope: Scope
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    is_complex: bool = False
    is_floating: bool = True
    count: int = 1

    @property
    def name(self) -> str:
        """Name of the operation without its overload."""
        return str(self.target._schema.name).removeprefix("aten::")  # noqa: SLF001  (torch offers no other way)

    def refuse(self, reason: str, remedy: str) -> NotBoundedError:
        """The error that names this operation.

        Args:
            reason: why it is not bounded.
            remedy: what to do.

        Returns:
            The error.
        """
        return NotBoundedError(str(self.target), reason, remedy)

    def named(self, name: str, default: Any = None) -> Any:
        """An operand by the name its schema gives it.

        Args:
            name: the name.
            default: what it is where the schema has no such operand.

        Returns:
            The operand, or the default of the schema.
        """
        for k, argument in enumerate(self.target._schema.arguments):  # noqa: SLF001
            if argument.name == name:
                if k < len(self.args):
                    return self.args[k]
                return self.kwargs.get(name, argument.default_value)
        return default

    def run(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run the operation in float64.

        Args:
            args: positional operands, tensors in float64.
            kwargs: named operands.

        Returns:
            What it returns.
        """
        target = (
            _SAME_MEANING.get(self.name, self.target) if self.target is not torch.ops.aten.view.dtype else self.target
        )
        args, kwargs = pytree.tree_map(lambda a: _WIDE.get(a, a) if isinstance(a, torch.dtype) else a, (args, kwargs))
        takes_dtype = any(a.name == "dtype" for a in self.target._schema.arguments)  # noqa: SLF001
        if takes_dtype and self.is_floating and self.named("dtype") is None and not self.tensors():
            kwargs = {**kwargs, "dtype": torch.complex128 if self.is_complex else torch.float64}
        return target(*args, **kwargs)

    def tensors(self) -> list[Any]:
        """Operands that are tensors or depend on the arguments, in the order of the call."""
        flat = pytree.tree_leaves((self.args, self.kwargs))
        return [a for a in flat if is_dependent(a) or isinstance(a, Tensor)]

    def dependents(self) -> list[Value]:
        """Operands that depend on the arguments, in the order of the call."""
        return [a for a in self.tensors() if is_dependent(a)]

    def closed(self, *, linear: bool, reset: tuple[str, ...] = ()) -> Callable[..., Tensor]:
        """The operation as a function of its dependent operands.

        Args:
            linear: whether constant operands of floating-point type are taken as zero.
            reset: names of scalars that are then zero too.

        Returns:
            A function of as many tensors as there are dependent operands.
        """
        args, kwargs = list(self.args), dict(self.kwargs)
        if linear:
            for k, argument in enumerate(self.target._schema.arguments):  # noqa: SLF001
                if argument.name in reset:
                    if k < len(args):
                        args[k] = 0.0
                    else:
                        kwargs[argument.name] = 0.0
        flat, spec = pytree.tree_flatten((args, kwargs))
        if linear:
            numbers = (torch.float64, torch.complex128)
            flat = [torch.zeros_like(a) if isinstance(a, Tensor) and a.dtype in numbers else a for a in flat]
        places = [k for k, a in enumerate(flat) if is_dependent(a)]

        def function(*tensors: Tensor) -> Tensor:
            filled = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            args, kwargs = pytree.tree_unflatten(filled, spec)
            return self.run(args, kwargs)

        return function

    def affine(
        self,
        operands: Sequence[Value],
        full: Callable[..., Tensor],
        linear: Callable[..., Tensor],
        gains: Gains,
        *,
        shape: tuple[int, ...] | None = None,
        disjoint: bool = False,
        is_complex: bool | None = None,
    ) -> Affine:
        """A new affine value.

        Args:
            operands: what it is computed from.
            full: the step.
            linear: the step without its constants.
            gains: norms of the step.
            shape: shape of the value; that of the call by default.
            disjoint: whether operands reach different entries.
            is_complex: whether it is complex; as the call's output by default.

        Returns:
            The value.

        Raises:
            NonFiniteError: a norm is not finite, because a constant is not.
        """
        checked = gains(False)  # noqa: FBT003  (the type of a gain)
        if not all(math.isfinite(g) for g in checked):
            raise NonFiniteError(
                str(self.target),
                f"norms {checked} of its step",
                "finite constants",
                "repair the weights or the divisor",
            )
        result = self.shape if shape is None else shape
        kind = self.is_complex if is_complex is None else is_complex
        return Affine(self.scope.next(), result, tuple(operands), full, linear, gains, disjoint, kind)

    def leaf(
        self,
        slopes: Sequence[float],
        limits: Interval | Callable[[], Interval] = EVERYWHERE,
        *,
        shape: tuple[int, ...] | None = None,
    ) -> Leaf:
        """A new value that is not affine.

        Args:
            slopes: its Lipschitz constants; raised here by the roundings of their computation.
            limits: an interval that holds its entries, or how to find one.
            shape: its shape; that of the call by default.

        Returns:
            The value.
        """
        found = limits if callable(limits) else lambda: limits
        result = self.shape if shape is None else shape
        return Leaf(self.scope.next(), result, tuple(rounded_up(s) for s in slopes), found)
