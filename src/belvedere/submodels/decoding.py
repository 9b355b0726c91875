"""Lets a sub-model write."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase


def encoded_prompt(
    tokenizer: PreTrainedTokenizerBase, text: str, *, begin: bool = True
) -> list[int]:
    """The token ids of a prompt.

    Args:
        tokenizer: of the model.
        text: which may name special tokens.
        begin: whether the begin token goes in front, if there is one.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    first = tokenizer.bos_token_id if begin else None
    return ids if first is None else [first, *ids]


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
    padding = tokenizer.pad_token_id or tokenizer.eos_token_id
    encoded = [encoded_prompt(tokenizer, prompt) for prompt in prompts]
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
