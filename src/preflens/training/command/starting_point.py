"""The model that a run starts from: a model by its name, or a model with an adapter to continue training."""

from typing import Any

from trl import get_peft_config, get_quantization_config
from trl.trainer.utils import create_model_from_path

from preflens.language_models.adapters import put_adapter
from preflens.language_models.loading import check_weights
from preflens.training.command.configuration import Configuration
from preflens.training.command.validation import model_name


def starting_point(configuration: Configuration) -> dict[str, Any]:
    """Return the model arguments of TRL's trainer.

    Args:
        configuration: of the run; the arguments for loading the model are written into its TRL part.

    Returns:
        Arguments of the trainer. Without an adapter, the name of the model, which TRL then loads. An adapter is added
        to the model here, trainable, and TRL keeps a frozen copy of it as the reference.

    Raises:
        InputError: the model's files lack weights; or the adapter cannot be loaded, or belongs to another model.
    """
    run, model, name = configuration.run, configuration.model, model_name(configuration)
    check_weights(name, revision=model.model_revision)  # TRL would train random ones
    quantization = get_quantization_config(model)
    run.model_init_kwargs = _model_arguments(model) | (run.model_init_kwargs or {})
    adapter = configuration.options.adapter
    if adapter is None:
        return {"model": name, "quantization_config": quantization, "peft_config": get_peft_config(model)}
    arguments = run.model_init_kwargs | ({} if quantization is None else {"quantization_config": quantization})
    if str(getattr(run.distributed_state.distributed_type, "value", "")) in {"MULTI_GPU", "DEEPSPEED"}:
        arguments["device_map"] = None  # as in TRL: each process holds the complete model
    run.model_init_kwargs = None  # the model is loaded here
    return {"model": put_adapter(create_model_from_path(name, **arguments), adapter)}


def _model_arguments(model: Any) -> dict[str, Any]:  # noqa: ANN401  # trl's ModelConfig
    """The arguments with which `trl dpo` loads a model, but never from a pickle."""
    return {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        "use_safetensors": True,
    }
