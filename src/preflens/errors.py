"""The exceptions preflens raises, each also the built-in error that it refines."""


class PreflensError(Exception):
    """Base of every error that a user of preflens can cause and mend; its message is one clear line."""


class InputError(PreflensError, ValueError):
    """A file, row, folder or argument is not what was expected; the message names it and what to do."""


class ObjectiveError(PreflensError, ValueError):
    """An objective is unknown, or a parameter of it is unknown or out of range."""


class MissingInputError(ObjectiveError):
    """An objective needs something that was not given: reference log-probs, token counts, log-probs of tokens."""


class UnsupportedObjectiveError(PreflensError, TypeError):
    """An objective is not of the kind that a computation can treat; the message says which is needed."""


class NumericalError(PreflensError, ArithmeticError):
    """A number is not finite, or breaks a law that every exact result obeys; nothing is clamped."""


class NonFiniteLogpError(NumericalError):
    """A log-prob is not finite.

    Args:
        row: of the response, chosen ones first.
        responses: how many there are.
        value: the log-prob.

    Attributes:
        row: of the response.
        value: the log-prob.
    """

    def __init__(self, row: int, responses: int, value: float) -> None:
        self.row, self.value = row, value
        side = "chosen" if row < responses // 2 else "rejected"
        super().__init__(
            f"The log-prob of the {side} response of pair {row % (responses // 2)} (from 0) is {value}. The model's "
            "weights or scores are not finite, or overflow in this type; compute in float32."
        )


class AuditError(PreflensError, AssertionError):
    """What the fast engine computes is not what autograd computes; the message names the module."""


class MissingExtraError(PreflensError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class UnsupportedModelError(PreflensError, TypeError):
    """A model does something whose per-response gradients cannot be told apart; the message names the module."""
