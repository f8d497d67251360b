r"""Lipschitz constants of activations, elementwise and over rows, each the exact supremum of the slope or rounded up from it.

An elementwise activation has one constant in l1, l2 and sup: the supremum of `|f'|`.

**Suprema that are not attained at a corner.** GELU `x Phi(x)`: the slope `Phi + x phi` has the derivative `phi (2 - x^2)`, so
it is largest at `sqrt 2`. SiLU `x s(x)`: at the root of `2 + x (1 - 2 s(x)) = 0`. Mish and the tanh form of GELU: at the root
of the second derivative. The table holds each to 17 digits, rounded up; the tests evaluate them in ball arithmetic or with 40
digits. Hardswish on [-3, 3] has the slope `(2 x + 3) / 6`, so 3/2.

**Softmax** `p`: the Jacobian `diag(p) - p p^T` is symmetric and its absolute row sums are
`p_i (1 - p_i) + p_i sum_{j != i} p_j = 2 p_i (1 - p_i) <= 1/2`. So 1/2 bounds it from sup to sup, by symmetry from l1 to l1,
and by Gershgorin from l2 to l2; two entries of one half attain it.

**Not Lipschitz.** Hardshrink and Threshold jump, RReLU in training is random. Softplus as torch computes it jumps by
`log(1 + e^-threshold) / beta` where it turns into the identity; the constant is that of the smooth function, and the
assumption is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError
from eqtheory.lipschitz.layers._own_forward import forward_hooks, replaced_method

__all__ = ["ACTIVATION_CONSTANTS", "SOFTPLUS_THRESHOLD", "activation_constant"]

ACTIVATION_CONSTANTS: dict[str, float] = {
    "gelu": 1.128904145185155,
    "gelu_tanh": 1.128993068658772,
    "hardsigmoid": 0.16666666666666669,
    "hardswish": 1.5,
    "hardtanh": 1.0,
    "identity": 1.0,
    "log_sigmoid": 1.0,
    "mish": 1.088498161251728,
    "relu": 1.0,
    "relu6": 1.0,
    "selu": 1.7580993408473769,
    "sigmoid": 0.25,
    "silu": 1.099839320128867,
    "softmax": 0.5,
    "softplus": 1.0,
    "softshrink": 1.0,
    "softsign": 1.0,
    "tanh": 1.0,
    "tanhshrink": 1.0,
}
"""Suprema of slopes by name, never below the true ones; those that depend on parameters are computed by `activation_constant`."""

SOFTPLUS_THRESHOLD = 20.0
"""Softplus jumps by `log1p(exp(-threshold)) / beta` where it becomes linear: 2e-9 / beta from this threshold on."""

_NOT_LIPSCHITZ = {"hardshrink": "lambd", "threshold": "threshold"}
_ROUNDED = {"gelu", "gelu_tanh", "hardsigmoid", "mish", "selu", "silu"}

_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.CELU: ("celu", ("alpha",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Hardshrink: ("hardshrink", ("lambd",)),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardtanh: ("hardtanh", ()),
    nn.Identity: ("identity", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.LogSigmoid: ("log_sigmoid", ()),
    nn.Mish: ("mish", ()),
    nn.PReLU: ("prelu", ("weight",)),
    nn.RReLU: ("rrelu", ("lower", "upper", "training")),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.SELU: ("selu", ()),
    nn.SiLU: ("silu", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Softmax: ("softmax", ()),
    nn.Softmax2d: ("softmax", ()),
    nn.Softmin: ("softmax", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softshrink: ("softshrink", ()),
    nn.Softsign: ("softsign", ()),
    nn.Tanh: ("tanh", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
    nn.Threshold: ("threshold", ()),
}
_ATEN = {"_softmax": "softmax", "_prelu_kernel": "prelu", "alias": "identity", "log_sigmoid_forward": "log_sigmoid"}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "celu": {"alpha": 1.0},
    "elu": {"alpha": 1.0, "scale": 1.0, "input_scale": 1.0},
    "gelu": {"approximate": "none"},
    "hardshrink": {"lambd": 0.5},
    "leaky_relu": {"negative_slope": 0.01},
    "prelu": {"weight": 0.25},
    "rrelu": {"lower": 1 / 8, "upper": 1 / 3, "training": False},
    "softplus": {"beta": 1.0, "threshold": 20.0},
}


def activation_constant(activation: nn.Module | type[nn.Module] | Callable[..., Any], **options: Any) -> Bound:
    """Look up the Lipschitz constant of an activation, the same in l1, l2 and sup.

    Args:
        activation: a module, a module type (with the defaults of torch), or an aten operation such as
            `torch.ops.aten.gelu.default`.
        options: arguments of an aten operation or of a module type that change the slope, by torch's names: `negative_slope`,
            `alpha`, `scale`, `input_scale`, `approximate`, `weight`, `beta`, `threshold`, `lower`, `upper`, `lambd`.

    Returns:
        The exact constant, or the number above it in the last place, proved.

    Raises:
        InputError: an activation that is not known, not Lipschitz or has hooks, or an option it does not have.

    Example:
        >>> import torch
        >>> activation_constant(torch.nn.LeakyReLU(3.0)).value, activation_constant(torch.ops.aten.sigmoid.default).value
        (3.0, 0.25)
    """
    name, given = _named(activation)
    known = _DEFAULTS.get(name, {})
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError("options", ", ".join(unknown), f"options of {name}: {', '.join(known) or 'none'}", "drop them")
    chosen = known | given | options
    if name in _NOT_LIPSCHITZ and not (name == "hardshrink" and chosen["lambd"] == 0):
        raise InputError("activation", name, "one without jumps", "use Softshrink or ReLU, or bound it on a region")
    value, rounded = _constant(name, chosen)
    assumptions: tuple[str, ...] = ()
    if name == "softplus":
        if chosen["threshold"] < SOFTPLUS_THRESHOLD:
            came = f"softplus that becomes linear at {chosen['threshold']}, where it jumps"
            raise InputError("activation", came, f"a threshold of at least {SOFTPLUS_THRESHOLD}", "take the default")
        assumptions = (f"the jump of log1p(exp(-{chosen['threshold']})) / beta at the threshold counts as rounding",)
    side = Side.UPPER if rounded or name in _ROUNDED or name == "softmax" else Side.EXACT
    return Bound(value, side, f"supremum of the slope of {name}", Evidence.PROVED, "l1, l2 and sup", assumptions)


def _named(activation: Any) -> tuple[str, dict[str, Any]]:
    kind = activation if isinstance(activation, type) else type(activation)
    if issubclass(kind, nn.Module):
        hooks = None if isinstance(activation, type) else forward_hooks(activation)
        if hooks is not None:
            raise InputError(
                "activation", f"{kind.__name__} {hooks}", "one that is only its forward", "remove the hooks"
            )
        base = next((c for c in kind.__mro__ if c in _MODULES and kind.forward is c.forward), None)
        if base is not None and (isinstance(activation, type) or replaced_method(activation, base) is None):
            name, fields = _MODULES[base]
            own = {} if isinstance(activation, type) else {field: getattr(activation, field) for field in fields}
            return name, own
    elif str(activation).startswith("aten."):
        name = str(activation).split(".")[1].removesuffix("_")
        name = _ATEN.get(name, name)
        if name in ACTIVATION_CONSTANTS or name in _DEFAULTS or name in _NOT_LIPSCHITZ:
            return name, {}
    shown = kind.__name__ if issubclass(kind, nn.Module) else str(activation)
    raise InputError(
        "activation",
        shown,
        "an activation of torch.nn or torch.ops.aten that is in the table",
        "bound its slope by hand",
    )


def _constant(name: str, options: dict[str, Any]) -> tuple[float, bool]:
    """The constant and whether it was rounded up.

    Returns:
        Both.

    Raises:
        InputError: options outside their range.
    """
    if name == "gelu":
        if options["approximate"] not in {"none", "tanh"}:
            raise InputError("approximate", repr(options["approximate"]), "'none' or 'tanh'", "pass what the layer has")
        return ACTIVATION_CONSTANTS["gelu" if options["approximate"] == "none" else "gelu_tanh"], True
    if name == "hardshrink":
        return 1.0, False
    if name in {"leaky_relu", "prelu"}:
        slope = options["negative_slope" if name == "leaky_relu" else "weight"]
        return max(1.0, _largest(name, slope)), False
    if name == "elu":
        left = _largest("alpha", options["alpha"]) * options["input_scale"]
        if not options["input_scale"] >= 0:
            raise InputError("input_scale", str(options["input_scale"]), "a number >= 0", "the slope is unbounded")
        rounding = 1.0 if options["scale"] == options["input_scale"] == 1 else 1 + 2.0**-50
        return abs(options["scale"]) * max(1.0, left) * rounding, rounding != 1
    if name == "celu" and not options["alpha"] > 0:
        raise InputError("alpha", str(options["alpha"]), "a number > 0", "the slope is unbounded otherwise")
    if name == "celu":
        return 1.0, False
    if name == "rrelu":
        if options["training"]:
            raise InputError("activation", "RReLU in training mode", "a fixed map", "call .eval() first")
        return max(1.0, abs(options["lower"] + options["upper"]) / 2 * (1 + 2.0**-50)), True
    return ACTIVATION_CONSTANTS[name], False


def _largest(name: str, value: Any) -> float:
    size = (
        float(torch.as_tensor(value).detach().to(torch.float64).abs().amax())
        if isinstance(value, Tensor)
        else abs(float(value))
    )
    if not size < float("inf"):
        raise InputError(name, str(size), "finite numbers", "repair it")
    return size
