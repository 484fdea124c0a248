"""One argument chooses the method."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmgr.contexts import ContextDensities, ContextVectors, CountTable, RegionMean, make_region_vectors
from mmgr.errors import ConfigError


def test_a_name_chooses_the_estimator() -> None:
    kinds = {"context": ContextVectors, "densities": ContextDensities, "table": CountTable, "mean": RegionMean}
    for method, kind in kinds.items():
        assert type(make_region_vectors(method, None)) is kind
    assert make_region_vectors("tf-idf", None, radius=300.0).weighting == "tf-idf"
    assert make_region_vectors("context", None, dimensions=8).dimensions == 8


@pytest.mark.parametrize("encoder", ["kernels", "attention", "set2set"])
def test_what_is_learned_by_contrast_is_chosen_by_its_encoder(encoder: str) -> None:
    made = make_region_vectors(encoder, None, steps=3)
    assert (type(made).__name__, made.encoder, made.steps) == ("PoiSetVectors", encoder, 3)


def test_unknown_methods_and_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match="'contexts' of region vectors; did you mean 'context'"):
        make_region_vectors("contexts", None)
    with pytest.raises(ConfigError, match=r"CountTable: .*'scales'"):
        make_region_vectors("table", None, scales=[100.0])


def test_no_network_library_is_loaded() -> None:
    code = "import sys; from mmgr.contexts import make_region_vectors as make; make('context', None); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
