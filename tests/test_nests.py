"""Nests read as vectors."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.nests import Raveled, map_tensors


@dataclass(frozen=True)
class Program:
    A: Tensor
    b: Tensor
    kind: str


def test_a_nest_comes_back_from_its_vectors() -> None:
    nest = {
        "lp": Program(torch.arange(12.0).reshape(2, 3, 2).double(), torch.ones(2), "dense"),
        "pair": (torch.zeros(2, 1), [torch.arange(2)]),
        "shared": torch.ones(5),
    }
    raveled = Raveled(nest, 2)
    flat = raveled.flat(nest)
    assert flat.shape == (2, 8) == (2, raveled.length)
    assert flat.dtype == torch.float64
    back = raveled.nest(flat + 1)
    assert torch.equal(back["lp"].A, nest["lp"].A + 1)  # type: ignore[attr-defined]
    assert back["lp"].b.dtype == torch.float32
    assert back["lp"].kind == "dense"
    assert back["pair"][1][0].tolist() == [0, 1]  # indices are no coordinates
    assert torch.equal(back["shared"], nest["shared"])  # type: ignore[arg-type]


def test_rows_say_which_sample_the_rest_belongs_to() -> None:
    nest = (torch.tensor([[1.0], [2.0]]), torch.tensor([7, 8]))
    values, labels = Raveled(nest, 2).nest(torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([1, 1, 0]))
    assert values.reshape(-1).tolist() == [5.0, 6.0, 7.0]
    assert labels.tolist() == [8, 8, 7]


def test_a_nest_without_coordinates_has_none() -> None:
    raveled = Raveled((torch.arange(3), None), 3)
    assert raveled.length == 0
    assert raveled.flat((torch.arange(3), None)).shape == (3, 0)


@pytest.mark.parametrize(
    "make",
    [dict, OrderedDict, lambda given: defaultdict(list, given), MappingProxyType],
    ids=lambda make: make.__name__,
)
def test_mappings_keep_their_type_and_are_not_changed(make: Any) -> None:
    nest: Mapping[str, Any] = make({"b": torch.ones(2), "a": 3})
    found = map_tensors(lambda t: t + 1, nest)
    assert type(found) is type(nest)
    assert list(found) == ["b", "a"]
    assert found["b"].tolist() == [2.0, 2.0]
    assert nest["b"].tolist() == [1.0, 1.0]
    if isinstance(found, defaultdict):
        assert found["new"] == []
