"""Objectives that are left out on purpose, with the reason."""

from collections.abc import Mapping

_DISTRIBUTIONS = "it needs the full token distributions of policy and reference, not only log-probs of the responses"

NOT_INCLUDED: Mapping[str, str] = {
    "tdpo": f"{_DISTRIBUTIONS} (arXiv 2404.11999, a KL at every position).",
    "sparsepo": f"{_DISTRIBUTIONS}, and masks that are learned together with the model (arXiv 2410.05102).",
    "dgpo": "its exact formula is not public (OpenReview wmi6satsIu).",
    "gaw_po": "its formula is known in part only, and its token weights come from gradients (arXiv 2610.01511).",
    "nthr": "it weights tokens of groups of responses by hidden states, not of pairs by log-probs (arXiv 2505.18830).",
}
