"""Every public function and class of the packages for experts shows how it is used, by an example that runs."""

import inspect

import pytest

import preflens
import preflens.dynamics
import preflens.mitigations
import preflens.objectives
import preflens.pair_logps


def public(package, *, kinds=(inspect.isfunction, inspect.isclass)):
    """Functions and classes of ours that a package gives, by their names."""
    entries = {name: entry for name, entry in vars(package).items() if any(kind(entry) for kind in kinds)}
    return {n: e for n, e in entries.items() if not n.startswith("_") and e.__module__.startswith("preflens.")}


SHOWN = {
    **public(preflens.objectives), **public(preflens.mitigations),
    **public(preflens.dynamics, kinds=[inspect.isfunction]),
    **{name: entry for name, entry in public(preflens.pair_logps).items() if entry.__module__ == "preflens.pair_logps"},
    **{name: entry for name in preflens.__all__ if callable(entry := getattr(preflens, name))},
}  # fmt: skip


def test_the_packages_give_what_experts_need():
    assert {"simpo", "cpo", "modified", "TokenObjective", "WeightedSum", "trl_objective"} <= set(SHOWN)
    assert {"parse_mitigation", "normalized", "CoefficientMap", "as_rollout_transform"} <= set(SHOWN)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_every_public_name_has_an_example(name):
    assert ">>> " in (inspect.getdoc(SHOWN[name]) or "")
