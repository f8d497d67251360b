"""Fixed-point problems whose equilibrium is known: the data in numpy, the same operator `G` in torch, jax and numpy.

Every problem starts at `y0 = 0`. The equilibrium is manufactured (choose `y*`, then `x`) or comes from a direct solve in
float64 with the data as they are stored. Weights are closed over; `x` holds what belongs to a sample, batch first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.sparse
import torch

__all__ = ["PROBLEMS", "Problem", "build"]

Array = np.ndarray[Any, Any]
Map = Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """One batch of equations `y = G(y, x)`.

    `numpy_map`, `torch_map` and `jax_map` return `G` of that library; `x` is an array, or a tuple of arrays.
    """

    name: str
    x: Any
    solution: Array
    dtype: type[Any]
    numpy_map: Callable[[], Map]
    torch_map: Callable[[], Map]
    jax_map: Callable[[], Map]

    @property
    def batch(self) -> int:
        return len(self.solution)

    @property
    def start(self) -> Array:
        return np.zeros(self.solution.shape, self.dtype)

    @property
    def scale(self) -> float:
        """Mean norm of a sample's equilibrium, the unit of absolute tolerances."""
        return float(np.linalg.norm(self.solution.reshape(self.batch, -1), axis=1).mean())

    def error(self, value: Any) -> float:
        """Largest relative error of a sample, infinite where a value is not finite."""
        difference = np.asarray(value, dtype=np.float64).reshape(self.batch, -1) - self.solution.reshape(self.batch, -1)
        if not np.isfinite(difference).all():
            return float("inf")
        norms = np.linalg.norm(self.solution.reshape(self.batch, -1), axis=1)
        return float((np.linalg.norm(difference, axis=1) / norms).max())


def _orthogonal(rng: np.random.Generator, n: int) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def _symmetric(rng: np.random.Generator, n: int, low: float, high: float) -> Array:
    """A dense symmetric matrix with eigenvalues uniform in `[low, high]`, both ends present."""
    q = _orthogonal(rng, n)
    values = np.concatenate([[low, high], rng.uniform(low, high, n - 2)])
    w = (q * values) @ q.T
    return (w + w.T) / 2


def _dense(name: str, W: Array, x: Array, solution: Array, activation: str, dtype: type[Any] = np.float64) -> Problem:
    """`G = activation(y W^T + x)`."""
    transposed = np.ascontiguousarray(W.T.astype(dtype))

    def numpy_map() -> Map:
        act = {"identity": lambda z: z, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[activation]
        return lambda y, x: act(y @ transposed + x)

    def torch_map() -> Map:
        weight = torch.from_numpy(transposed)
        act = {"identity": lambda z: z, "tanh": torch.tanh_, "relu": torch.relu_}[activation]
        if len(x) == 1:  # a matrix times a vector, for which torch has a faster call
            rows = weight.T.contiguous()
            return lambda y, x: act(torch.addmv(x[0], rows, y[0]).unsqueeze(0))
        return lambda y, x: act(torch.addmm(x, y, weight))

    def jax_map() -> Map:
        import jax.numpy as jnp

        weight = jnp.asarray(transposed)
        act = {"identity": lambda z: z, "tanh": jnp.tanh, "relu": lambda z: jnp.maximum(z, 0)}[activation]
        return lambda y, x: act(y @ weight + x)

    return Problem(name, x.astype(dtype), solution, dtype, numpy_map, torch_map, jax_map)


def _linear(name: str, mu: float, batch: int, n: int, dtype: type[Any] = np.float64) -> Problem:
    rng = np.random.default_rng([1, n, batch])
    W = _symmetric(rng, n, -mu, mu).astype(dtype).astype(np.float64)
    x = rng.standard_normal((batch, n)).astype(dtype).astype(np.float64)
    solution = np.linalg.solve(np.eye(n) - W, x.T).T
    return _dense(name, W, x, solution, "identity", dtype)


def _mixed(name: str, mu: float, batch: int, n: int) -> Problem:
    """Linear, and every sample has its own rate: they are spread evenly from 0 to `mu`."""
    rng = np.random.default_rng([2, n, batch])
    W = _symmetric(rng, n, -mu, mu)
    rate = np.linspace(0, 1, batch)[:, None]
    b = rng.standard_normal((batch, n))
    solution = np.stack([np.linalg.solve(np.eye(n) - r * W, v) for r, v in zip(rate[:, 0], b, strict=True)])

    def plain() -> Map:
        return lambda y, x: x[0] * (y @ W.T) + x[1]

    def torch_map() -> Map:
        weight = torch.from_numpy(np.ascontiguousarray(W.T))
        return lambda y, x: torch.addcmul(x[1], x[0], y @ weight)

    def jax_map() -> Map:
        import jax.numpy as jnp

        weight = jnp.asarray(W.T)
        return lambda y, x: x[0] * (y @ weight) + x[1]

    return Problem(name, (rate, b), solution, np.float64, plain, torch_map, jax_map)


def _non_normal(name: str) -> Problem:
    """Three groups of states, each feeding the next: `|W| >= 5`, though no eigenvalue exceeds 0.8."""
    rng = np.random.default_rng(5)
    n, batch, strength = 128, 64, 24.0
    groups = np.array_split(np.arange(n), 3)
    T = np.diag(rng.uniform(-0.8, 0.8, n))
    for here, following in pairwise(groups):
        block = rng.standard_normal((len(here), len(following)))
        T[np.ix_(here, following)] = strength * block / np.linalg.norm(block, 2)
    Q = _orthogonal(rng, n)
    W = Q @ T @ Q.T
    solution = rng.standard_normal((batch, n))
    return _dense(name, W, solution - solution @ W.T, solution, "identity")


def _tanh(name: str, norm: float, batch: int, n: int) -> Problem:
    """Small equilibria, so that the slopes of tanh stay near one."""
    rng = np.random.default_rng([6, n])
    W = _symmetric(rng, n, -norm, norm)
    solution = np.clip(0.1 * rng.standard_normal((batch, n)), -0.5, 0.5)
    return _dense(name, W, np.arctanh(solution) - solution @ W.T, solution, "tanh")


def _relu(name: str) -> Problem:
    """A random layer with a symmetric part; most units are active, so that the slow directions survive the ReLU."""
    rng = np.random.default_rng(7)
    batch, n = 4096, 64
    S, R = _symmetric(rng, n, -1.0, 1.0), rng.standard_normal((n, n)) / np.sqrt(n)
    W = S + 0.1 * R
    W = 0.99 * W / np.linalg.norm(W, 2)
    z = rng.standard_normal((batch, n)) + 2.5
    x = z - np.maximum(z, 0) @ W.T
    y = np.maximum(z, 0)
    for _ in range(50):  # Newton's method: exact once the set of active units is found
        active = (y @ W.T + x > 0).astype(np.float64)
        new = np.linalg.solve(np.eye(n) - active[:, :, None] * W, (active * x)[:, :, None])[:, :, 0]
        done = np.array_equal(new, y)
        y = new
        if done:
            break
    return _dense(name, W, x, y, "relu")


def _fourier(name: str) -> Problem:
    rng = np.random.default_rng(8)
    n = 256
    multiplier = rng.uniform(-0.97, 0.97, (n, n // 2 + 1))
    solution = 0.3 * rng.standard_normal((1, n, n))

    def numpy_map() -> Map:
        return lambda y, x: np.tanh(np.fft.irfft2(multiplier * np.fft.rfft2(y), s=(n, n))) + x

    def torch_map() -> Map:
        m = torch.from_numpy(multiplier)
        return lambda y, x: torch.fft.irfft2(torch.fft.rfft2(y).mul_(m), s=(n, n)).tanh_().add_(x)

    def jax_map() -> Map:
        import jax.numpy as jnp

        m = jnp.asarray(multiplier)
        return lambda y, x: jnp.tanh(jnp.fft.irfft2(m * jnp.fft.rfft2(y), s=(n, n))) + x

    x = solution - np.tanh(np.fft.irfft2(multiplier * np.fft.rfft2(solution), s=(n, n)))
    return Problem(name, x, solution, np.float64, numpy_map, torch_map, jax_map)


def _graph(name: str) -> Problem:
    """`G = relu(a A y + x)` with the normalised adjacency `A` of a random graph."""
    rng = np.random.default_rng(9)
    n, degree, a = 65_536, 8, 0.97
    ends = rng.integers(0, n, (2, n * degree // 2))
    ends = ends[:, ends[0] != ends[1]]
    upper = scipy.sparse.coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(n, n)).tocsr()
    adjacency = ((upper + upper.T) > 0).astype(np.float64)
    weight = 1 / np.sqrt(np.maximum(adjacency.sum(axis=1), 1))
    A = scipy.sparse.csr_array(a * (scipy.sparse.diags_array(weight) @ adjacency @ scipy.sparse.diags_array(weight)))
    A.sort_indices()
    z = rng.standard_normal((1, n)) + 1.5
    solution = np.maximum(z, 0)
    x = z - (A @ solution[0])[None]

    def numpy_map() -> Map:
        return lambda y, x: np.maximum((A @ y[0])[None] + x, 0)

    def torch_map() -> Map:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its CSR layout a beta
            places = (torch.from_numpy(a.astype(np.int32)) for a in (A.indptr, A.indices))
            matrix = torch.sparse_csr_tensor(*places, torch.from_numpy(A.data), size=(n, n))
        return lambda y, x: torch.relu_(torch.mv(matrix, y[0]).unsqueeze(0).add_(x))

    def jax_map() -> Map:
        import jax.numpy as jnp
        from jax.experimental.sparse import BCOO

        matrix = BCOO.from_scipy_sparse(A)
        return lambda y, x: jnp.maximum((matrix @ y[0])[None] + x, 0)

    return Problem(name, x, solution, np.float64, numpy_map, torch_map, jax_map)


def _many_rates(name: str) -> Problem:
    """Every sample has its own rate: the slowest needs a thousand times the steps of the fastest."""
    rng = np.random.default_rng(11)
    batch, n = 4096, 16
    mu = 1 - np.geomspace(0.5, 1e-3, batch)
    c = mu[:, None] * rng.uniform(0, 1, (batch, n))
    c[:, 0], c[:, 1] = mu, 0.0
    b = rng.standard_normal((batch, n))

    def plain() -> Map:
        return lambda y, x: x[0] * y + x[1]

    def torch_map() -> Map:
        return lambda y, x: torch.addcmul(x[1], x[0], y)

    return Problem(name, (c, b), b / (1 - c), np.float64, plain, torch_map, plain)


def _circulant(weights: Array, n: int) -> Array:
    """The symmetric matrix of a circular convolution with weights around the middle."""
    half = len(weights) // 2
    return sum(w * np.roll(np.eye(n), k - half, axis=1) for k, w in enumerate(weights))


def _image(name: str) -> Problem:
    """`G = 0.9 blur(y) + x` on a torus."""
    rng = np.random.default_rng(12)
    batch, n, size = 16, 64, 5
    across, along = (np.exp(-rate * (np.arange(size) - 2) ** 2) for rate in (0.5, 0.3))
    across, along = 0.9 * across / across.sum(), along / along.sum()  # the kernel is the product of the two
    solution = rng.uniform(0, 1, (batch, n, n))

    def filtered(y: Array) -> Array:
        return scipy.ndimage.convolve1d(
            scipy.ndimage.convolve1d(y, across, axis=1, mode="wrap"), along, axis=2, mode="wrap"
        )

    def numpy_map() -> Map:
        return lambda y, x: filtered(y) + x

    def torch_map() -> Map:
        # A product with a circulant matrix from either side: at this size faster than `conv2d` and than sums of shifts.
        left, right = (torch.from_numpy(_circulant(weights, n)) for weights in (across, along))
        return lambda y, x: torch.matmul(torch.matmul(left, y), right).add_(x)

    def jax_map() -> Map:
        import jax.numpy as jnp

        half = size // 2

        def blur(y: Any, x: Any) -> Any:
            padded = jnp.pad(y, ((0, 0), (half, half), (0, 0)), mode="wrap")
            y = sum(float(across[i]) * padded[:, i : i + n] for i in range(size))
            padded = jnp.pad(y, ((0, 0), (0, 0), (half, half)), mode="wrap")
            return sum((float(along[j]) * padded[:, :, j : j + n] for j in range(size)), x)

        return blur

    x = solution - filtered(solution)
    return Problem(name, x, solution, np.float64, numpy_map, torch_map, jax_map)


PROBLEMS: dict[str, Callable[[str], Problem]] = {
    "linear 0.5": lambda name: _linear(name, 0.5, 64, 1024, np.float32),
    "linear 0.9": lambda name: _linear(name, 0.9, 64, 256),
    "linear 0.99": lambda name: _linear(name, 0.99, 1, 1024),
    "linear 0.999": lambda name: _linear(name, 0.999, 64, 256),
    "linear, rates to 0.5": lambda name: _mixed(name, 0.5, 256, 256),
    "linear, rates to 0.9": lambda name: _mixed(name, 0.9, 256, 256),
    "linear, rates to 0.99": lambda name: _mixed(name, 0.99, 256, 256),
    "non-normal": _non_normal,
    "tanh network": lambda name: _tanh(name, 0.98, 64, 512),
    "ReLU equilibrium layer": _relu,
    "Fourier operator": _fourier,
    "sparse graph": _graph,
    "small": lambda name: _tanh(name, 0.99, 1, 16),
    "many rates": _many_rates,
    "image": _image,
}


@cache
def build(name: str) -> Problem:
    """Return the problem of that name."""
    return PROBLEMS[name](name)
