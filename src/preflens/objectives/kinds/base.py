"""The interface of an objective, the citation of its paper, and the inputs that its loss may use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients

Kind = Literal["margin", "pairwise", "batch", "token"]

# Inputs that a loss may use in addition to the two log-probs, and the fields of `PairLogps` that hold them.
INPUTS: Mapping[str, tuple[str, ...]] = {
    "reference": ("ref_chosen", "ref_rejected", "ref_chosen_token_logps", "ref_rejected_token_logps"),
    "length": ("chosen_tokens", "rejected_tokens"),
    "token log-probs": ("chosen_token_logps", "rejected_token_logps"),
    "token confidence": ("chosen_log_sum_sq_probs", "rejected_log_sum_sq_probs"),
    "future policy": ("future_chosen", "future_rejected"),
}


@dataclass(frozen=True)
class Citation:
    """The paper an objective or a mitigation comes from.

    Attributes:
        title: title of the paper.
        authors: first author and others.
        year: year of the first version.
        arxiv: arXiv number, or empty for a text that is not on arXiv.
        location: the equation, section or table with the loss, as far as confirmed.
        unverified: the part of the formula that is reconstructed or not confirmed; empty where there is none.
        url: address of the text, if it is not on arXiv.
        method: the short name of the loss in the field, for example `SimPO`; empty where it is the table's name.
        configurations: settings to start from, each with its source.
        differences: where the paper, its authors' code, TRL and this package differ.

    Example:
        >>> from preflens.objectives import dpo
        >>> source = dpo().source
        >>> source.authors, source.year, source.link
        ('Rafailov et al.', 2023, 'https://arxiv.org/abs/2305.18290')
    """

    title: str
    authors: str
    year: int
    arxiv: str
    location: str
    unverified: str = ""
    url: str = ""
    method: str = ""
    configurations: str = ""
    differences: str = ""

    def __str__(self) -> str:
        where = f"arXiv {self.arxiv}" if self.arxiv else self.url
        return f"{self.authors}, {self.title!r}, {self.year}, {where}, {self.location}"

    @property
    def link(self) -> str:
        """Address of the text."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url

    @property
    def bibtex(self) -> str:
        """A BibTeX entry, with "and others" in place of the authors after the first."""
        key = re.sub(r"\W", "", self.authors.split()[0].lower()) + f"{self.year}{re.findall(r'[^ :]+', self.title)[0]}"
        authors = self.authors.replace(" et al.", " and others")
        rows = {"title": f"{{{self.title}}}", "author": authors, "year": str(self.year)}
        rows |= {"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {"url": self.url}
        return f"@misc{{{key.lower()},\n" + "".join(f"  {k} = {{{v}}},\n" for k, v in rows.items()) + "}"


@runtime_checkable
class Objective(Protocol):
    """An objective: it maps the log-probs of pairs to a loss per pair and to the coefficients of a step.

    Example:
        >>> from preflens.objectives import Objective, simpo
        >>> objective = simpo()
        >>> isinstance(objective, Objective), objective.name, objective.kind, sorted(objective.inputs)
        (True, 'simpo', 'margin', ['length'])
    """

    @property
    def name(self) -> str:
        """The name in the table of objectives."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """Its hyperparameters, by name."""

    @property
    def source(self) -> Citation:
        """The paper."""

    @property
    def kind(self) -> Kind:
        """What the loss of a pair depends on.

        `margin`: a function of one margin and of the chosen log-prob. `pairwise`: any function of the pair's two
        log-probs. `batch`: also the other pairs of the update batch. `token`: the coefficients differ from token to
        token.
        """

    @property
    def inputs(self) -> frozenset[str]:
        """Keys of `INPUTS`: what the loss uses in addition to the two log-probs."""

    @property
    def needs_reference(self) -> bool:
        """Whether log-probs under a reference model are needed."""

    @property
    def uses_length(self) -> bool:
        """Whether token counts are needed."""

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair; a trainer minimizes its mean over the update batch.

        It is differentiable in the log-probs and has their dtype.
        """

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w and d_l of each pair."""
