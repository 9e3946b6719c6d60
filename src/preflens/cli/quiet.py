"""Libraries that would talk between our lines."""


def quiet_libraries() -> None:
    """Silence the progress bars and notices of transformers; errors still come through."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
