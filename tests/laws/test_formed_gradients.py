"""Gradients formed a part at a time are those of brute force, for every kind of model."""

import pytest
import torch

from preflens.gram.brute_force import values_of
from preflens.gram.readers import formed_gradients
from preflens.gram.readers.formed_gradients import gradient_parts
from preflens.gram.readers.stored_gradients import per_response_gradients
from tests.cases.language_models import MENAGERIE
from tests.support.grams import batch_of, forward_of
from tests.support.rows import tokenized


@pytest.mark.parametrize("numbers", [1 << 25, 200], ids=["whole", "in parts"])
@pytest.mark.parametrize("kind", MENAGERIE)
def test_parts_of_gradients_are_those_of_autograd(kind, numbers, monkeypatch):
    monkeypatch.setattr(formed_gradients, "_NUMBERS", numbers)
    model = MENAGERIE[kind]()
    forwards = [forward_of(model, batch_of(part)) for part in (tokenized()[:2], tokenized()[2:])]
    kept = [per_response_gradients(model, forward) for forward in forwards]
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = [
        {p: torch.full((len(k.logps), *p.shape), torch.nan, dtype=torch.float64) for p in parameters} for k in kept
    ]
    for parameter, rows, parts in gradient_parts(kept):
        for whole, part in zip(found, parts, strict=True):
            place = whole[parameter][:, rows] if rows is not ... else whole[parameter]
            assert place.isnan().all()  # each number once
            place.copy_(part.reshape(place.shape))
    for of_pass, forward in zip(found, forwards, strict=True):
        values = values_of(forward)
        for response, value in enumerate(values):
            expected = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
            for p, exact in zip(parameters, expected, strict=True):
                torch.testing.assert_close(
                    of_pass[p][response].nan_to_num(0.0), exact.double(), rtol=1e-6, atol=1e-7
                )  # norms compute in float32
