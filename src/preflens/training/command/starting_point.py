"""What a run starts from: a model by its name, or a model with an adapter that training goes on from."""

from typing import Any

from trl import get_peft_config, get_quantization_config
from trl.trainer.utils import create_model_from_path

from preflens.language_models.adapters import put_adapter
from preflens.training.command.configuration import Configuration
from preflens.training.command.validation import model_name


def starting_point(configuration: Configuration) -> dict[str, Any]:
    """Settle what TRL's trainer is given as a model.

    Args:
        configuration: of the run; TRL's part gets the arguments that the model is loaded with.

    Returns:
        Arguments of the trainer. A name where that will do, so that TRL loads the model; an adapter is put on the model
        here, trainable, and TRL keeps a frozen copy of it as the reference.

    Raises:
        InputError: the adapter cannot be loaded, or belongs to another model.
    """
    run, model, name = configuration.run, configuration.model, model_name(configuration)
    quantization = get_quantization_config(model)
    run.model_init_kwargs = _model_arguments(model) | (run.model_init_kwargs or {})
    adapter = configuration.options.adapter
    if adapter is None:
        return {"model": name, "quantization_config": quantization, "peft_config": get_peft_config(model)}
    arguments = run.model_init_kwargs | ({} if quantization is None else {"quantization_config": quantization})
    if str(getattr(run.distributed_state.distributed_type, "value", "")) in {"MULTI_GPU", "DEEPSPEED"}:
        arguments["device_map"] = None  # as TRL does it: each process holds the whole model
    run.model_init_kwargs = None  # used up
    return {"model": put_adapter(create_model_from_path(name, **arguments), adapter)}


def _model_arguments(model: Any) -> dict[str, Any]:  # noqa: ANN401  # trl's ModelConfig
    """As `trl dpo` loads a model, but never from a pickle."""
    return {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        "use_safetensors": True,
    }
