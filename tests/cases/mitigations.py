"""Mitigations by their texts, and what they are applied to."""

import torch

from preflens.mitigations import MITIGATIONS, CoefficientMap, Splitting, TokenMask, parse_mitigation
from tests.cases.geometries import drawn_coefficients, drawn_gradients, gram_of
from tests.cases.logps import drawn_logps

# Other options of mitigations that have several; every entry of the table is there by itself.
OPTIONS = (
    "normalized:scale=shared", "normalized:scale=unit", "sparse_mask:kind=learned", "sparse_mask:kind=contrast",
    "splitting:kind=sequential",
)  # fmt: skip
TEXTS = (*MITIGATIONS, *OPTIONS)


def texts_of(kind):
    return tuple(text for text in TEXTS if isinstance(parse_mitigation(text), kind))


MAPS, MASKS, STEPS = texts_of(CoefficientMap), texts_of(TokenMask), texts_of(Splitting)

# Rounding of float64 in sums of about a thousand products.
ROUNDING = 1e-12


def with_strength(text, strength):
    """A mitigation of another strength."""
    return parse_mitigation(text + ("," if ":" in text else ":") + f"strength={strength}")


def drawn(pairs=8, seed=0):
    """Gradients, their Gram, and coefficients."""
    gradients = drawn_gradients(pairs, seed=seed)
    return gradients, gram_of(gradients), drawn_coefficients(pairs, seed=seed + 1)


def same(one, other):
    return torch.equal(one.chosen, other.chosen) and torch.equal(one.rejected, other.rejected)


def pair_grams(grams):
    """The geometries of single pairs as that of many."""
    fields = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")
    return type(grams[0])(*(torch.cat([getattr(gram, field) for gram in grams]) for field in fields))


def tokens_of(logps, seed=0):
    """Token ids that fit the counts; about half of them shared."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randint(0, 4, (int(n),), generator=g).tolist()  # noqa: E731
    return [(draw(n), draw(m)) for n, m in zip(logps.chosen_tokens, logps.rejected_tokens, strict=True)]


def weights_of(mitigation, logps=None, **settings):
    """Token weights of drawn pairs, or of others."""
    logps = drawn_logps(pairs=2) if logps is None else logps
    keys = [str(k) for k in range(len(logps.chosen))]
    return mitigation.apply(logps, tokens_of(logps), keys=keys, **settings)
