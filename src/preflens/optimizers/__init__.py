"""Optimizers as TRL's trainers set them up, and the updates that they would make.

`settings` names an optimizer and its numbers, `checkpoint` reads the state of a run, `first_update` lets the real
torch optimizer step on copies of parameters.
"""
