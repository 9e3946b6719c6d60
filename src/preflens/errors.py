"""The exceptions preflens raises, each also the built-in error that it refines."""


class PreflensError(Exception):
    """Base of every error that a user of preflens can cause and mend; its message is one clear line."""


class InputError(PreflensError, ValueError):
    """A file, row, folder or argument is not what was expected; the message names it and what to do."""


class ObjectiveError(PreflensError, ValueError):
    """An objective is unknown, or a parameter of it is unknown or out of range."""


class MissingInputError(ObjectiveError):
    """An objective needs something that was not given: reference log-probs or token counts."""


class NumericalError(PreflensError, ArithmeticError):
    """A number is not finite, or breaks a law that every exact result obeys; nothing is clamped."""


class MissingExtraError(PreflensError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
