"""Preference pairs to test with."""

TEXT_ROWS = [
    {"id": "sky", "prompt": "the sky is", "chosen": " blue and the sea is green", "rejected": " green"},
    {"id": "dogs", "prompt": "two dogs", "chosen": " ran over the hill", "rejected": " ran over the sea and the hill"},
    {"id": "say", "prompt": "say yes or", "chosen": " no", "rejected": " maybe"},
    {"id": "same", "prompt": "the sea", "chosen": " is green", "rejected": " is green"},
    {"id": "bound", "prompt": "the sky is bl", "chosen": "ue", "rejected": "ack"},
    {"id": "long", "prompt": "yes " * 12, "chosen": " positive", "rejected": " negative"},
]

PROBE_ROWS = [
    {"id": "grass", "prompt": "the hill is", "chosen": " green", "rejected": " blue and green"},
    {"id": "cats", "prompt": "two dogs ran", "chosen": " over the sea", "rejected": " over"},
    {"id": "maybe", "prompt": "say", "chosen": " maybe yes", "rejected": " no"},
]

# What training pairs teach holds for these: the same answers, after a longer prompt.
ALIKE_ROWS = [row | {"id": f"{row['id']} again", "prompt": f"say {row['prompt']}"} for row in TEXT_ROWS]


def chat_rows(rows=None):
    """The same rows as messages."""
    return [
        {
            "id": row["id"],
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in (TEXT_ROWS if rows is None else rows)
    ]
