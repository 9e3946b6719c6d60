"""The terms of the pages and their definitions, which docs/glossary.md repeats and extends."""

from collections.abc import Mapping

from markupsafe import Markup

TERMS: Mapping[str, str] = {
    "pair": "A prompt with two responses: the chosen response (preferred) and the rejected response.",
    "log-prob": (
        "Natural logarithm of the probability that the model gives to a response after its prompt. It is a sum "
        "over the tokens of the response, in nats."
    ),
    "nat": (
        "Unit of a log-prob. A change by +1 nat makes the response 2.7 times (a factor of e) as probable; a "
        "change by −1 nat makes it 2.7 times less probable."
    ),
    "margin": (
        "Chosen log-prob minus rejected log-prob of a pair. Its change is the chosen change minus the rejected "
        "change, in nats."
    ),
    "objective": "A preference loss with values for its parameters, such as DPO with β = 0.1.",
    "reference": (
        "The model whose log-probs the objective compares with. In DPO it is a frozen copy of the model before "
        "training."
    ),
    "trainable parameters": "The parameters that step. Gradients are taken with respect to these only.",
    "held-out pairs": "Pairs that never step. Their log-probs change only because other pairs step.",
    "step": (
        "One optimizer update. In forecasts of `analyze` and `compare` it is a plain gradient step, without "
        "momentum or rescaling."
    ),
    "update": "The change of the trainable parameters in one step.",
    "update batch": "The pairs that share one step. Each of them changes the log-probs of all the others.",
    "micro-batch": "The pairs in one forward pass. It bounds memory and changes no number beyond rounding.",
    "gradient": (
        "Derivative of the log-prob of one response with respect to the trainable parameters. Its norm says how "
        "fast that log-prob can change."
    ),
    "cosine": (
        "Inner product of two gradients divided by the product of their norms. Near 1, whatever raises one log- "
        "prob raises the other."
    ),
    "gradient Gram": (
        "Matrix of the inner products of the gradients of all responses. Changes in one step are the learning "
        "rate times this matrix times the coefficients."
    ),
    "entanglement": (
        "Chosen and rejected log-probs that change together because their gradients point the same way. Measured "
        "as inner product over squared norm."
    ),
    "coefficient": (
        "How strongly the objective pulls on a response: minus the derivative of the loss with respect to its "
        "log-prob. The chosen coefficient is d_w; for the rejected response the opposite sign is used, d_l."
    ),
    "gradient condition": (
        "The two inequalities of Yuan et al. Chosen rises if d_w ‖g_w‖² > d_l ⟨g_w, g_l⟩. Rejected falls if d_l "
        "‖g_l‖² > d_w ⟨g_w, g_l⟩."
    ),
    "band position": (
        "Logarithm of the coefficient ratio d_w/d_l over the norm ratio ‖g_l‖/‖g_w‖. Inside the band, at less "
        "than −log cosine from zero, both sides change as intended."
    ),
    "outcome": (
        "What a step does to the two log-probs of a pair: intended (chosen rises, rejected falls), both rise, "
        "both fall, reversed, or unchanged."
    ),
    "cross-pair terms": "The part of a pair's change that comes from the other pairs of its update batch.",
    "influence": (
        "The part of one training pair in the change of a held-out mean. The influences of all training pairs add "
        "up to that change."
    ),
    "forecast": "A predicted change of log-probs. It is first order: right for small steps, worse as steps grow.",
    "measured": "The change of log-probs that a real step made: log-prob after the step minus log-prob before it.",
    "rounding floor": "The size below which a measured change cannot be distinguished from rounding.",
    "rollout": (
        "Many first-order steps with the gradient Gram held fixed. Log-probs and coefficients change, gradients do not."
    ),
    "interval": "A 95 % bootstrap interval. A mean is said to rise or fall only where its interval excludes zero.",
    "probe": (
        "The part of preflens that measures during a training run: it predicts a step, lets it happen, and measures it."
    ),
    "mitigation": "A change of coefficients, tokens or steps that keeps chosen log-probs from falling.",
    "untreated": "Pairs whose coefficients a mitigation did not change, because it can promise nothing for them.",
}


def anchor(name: str) -> str:
    """Return the id of a term on the page.

    Args:
        name: one of `TERMS`.

    Returns:
        For example `term-update-batch`.
    """
    return "term-" + name.lower().replace(" ", "-")


def term_link(name: str, shown: str | None = None) -> Markup:
    """Link a word of the page to its definition.

    Args:
        name: one of `TERMS`.
        shown: the word in the sentence, if it is not the term itself.

    Returns:
        An HTML link with the definition as a tooltip.
    """
    link = Markup('<a class="term" href="#{}" title="{}">{}</a>')
    return link.format(anchor(name), TERMS[name], shown or name)
