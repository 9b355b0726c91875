"""Lets a sub-model write."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase


@torch.inference_mode()
def complete(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[str], new_tokens: int
) -> list[str]:
    """What the model adds to each prompt, greedily, up to the end of its text.

    Args:
        model: anything with ``generate``; a view, say.
        tokenizer: the backbone's; its begin token goes in front of every prompt.
        prompts: the beginnings, decoded as one batch with padding on the left.
        new_tokens: at most so many are added.
    """
    before = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    padding = tokenizer.pad_token_id or tokenizer.eos_token_id
    encoded = [
        [*before, *tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids]
        for prompt in prompts
    ]
    longest = max(map(len, encoded))
    missing = [longest - len(row) for row in encoded]
    ids = [[padding] * gap + row for gap, row in zip(missing, encoded, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in missing]
    output = model.generate(
        torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=padding,
    )
    return list(tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True))
