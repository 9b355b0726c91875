"""Loads a backbone and its tokenizer by name, or says in one line what is missing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from belvedere.errors import BadInput, first_line


@dataclass(frozen=True)
class Backbone:
    """Which pretrained model, and how it is loaded.

    Attributes:
        name: a local folder or a name on the Hugging Face hub; also of the tokenizer.
        weights: "pretrained", or "random" for the same architecture untrained.
        dtype: of the weights in memory.
        attention: the attention implementation of ``transformers``.
        shape: overrides of the model's configuration, only with random weights.
        remedy: what to do where a local folder is not there yet.
        trust_remote_code: the same name once more, where the model comes with code of its own that
            may be run; by default such a model is refused.

    Raises:
        BadInput: another model's code is trusted.
    """

    name: str
    weights: Literal["pretrained", "random"] = "pretrained"
    dtype: str = "float32"
    attention: str = "sdpa"
    shape: dict[str, Any] | None = None
    remedy: str | None = None
    trust_remote_code: str | None = None

    def __post_init__(self) -> None:
        """Trust is in one model, not in whichever comes next."""
        if self.trust_remote_code not in (None, self.name):
            raise BadInput(
                f"{self.trust_remote_code} is trusted, but {self.name} is asked for",
                where="backbone.trust_remote_code",
                remedy="give the name of the model whose own code you have read, or null",
            )

    @property
    def _trusted(self) -> bool:
        """Whether the model's own code may be run."""
        return self.trust_remote_code is not None

    def config(self) -> PreTrainedConfig:
        """The architecture. Raises `BadInput` where it cannot be found."""
        try:
            config = AutoConfig.from_pretrained(self.name, trust_remote_code=self._trusted)
        except Exception as error:  # a damaged one raises errors of many kinds
            raise self._refused(error) from error
        for key, value in (self.shape or {}).items():
            if not hasattr(config, key):
                raise BadInput(f"{config.model_type} has no {key}", where="backbone.shape")
            setattr(config, key, value)
        return config

    def load(self) -> PreTrainedModel:
        """The model, in eval mode.

        Raises:
            BadInput: no such folder or hub model, no access, or damaged weights.
        """
        config = self.config()
        if self.weights == "random":
            return AutoModelForCausalLM.from_config(
                config, dtype=self.torch_dtype, attn_implementation=self.attention,
                trust_remote_code=self._trusted,
            ).eval()  # fmt: skip
        if self.shape:
            raise BadInput(
                "pretrained weights fit only their own shape",
                where="backbone.shape",
                remedy="remove it, or set backbone.weights=random",
            )
        return self.load_as(AutoModelForCausalLM)

    def load_as(self, kind: Any, **options: Any) -> Any:
        """The pretrained model as one of a class, in eval mode. Raises `BadInput` as `load` does.

        Args:
            kind: has ``from_pretrained``.
            options: of that.
        """
        dtype = self.torch_dtype
        try:
            return kind.from_pretrained(
                self.name, dtype=dtype, attn_implementation=self.attention, use_safetensors=True,
                trust_remote_code=self._trusted, **options,
            ).eval()  # fmt: skip
        except Exception as error:  # safetensors raises its own, transformers several kinds
            raise self._refused(error) from error

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype. Raises `BadInput` if it is none."""
        dtype = getattr(torch, self.dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise BadInput(f"{self.dtype} is no dtype", where="backbone.dtype")
        return dtype

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer. Raises `BadInput` where it cannot be found."""
        try:
            return AutoTokenizer.from_pretrained(self.name, trust_remote_code=self._trusted)
        except Exception as error:  # likewise
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> BadInput:
        """What to raise where the model or its tokenizer cannot be loaded."""
        if "trust_remote_code" in str(error):
            return BadInput(
                f"{self.name} comes with code of its own, which is not run unasked",
                where="backbone.name",
                remedy=f"read it, then give backbone.trust_remote_code={self.name}",
            )
        remedy = self.remedy if self.remedy and not Path(self.name).exists() else None
        return BadInput(
            _why(self.name, error), where="backbone.name", remedy=remedy or _remedy(self.name)
        )


def _why(name: str, error: Exception) -> str:
    text = str(error).strip()
    if "gated" in text or "401" in text or "403" in text:
        return f"{name} needs a licence that is accepted on the hub, and a token"
    if Path(name).is_dir():
        if not (Path(name) / "config.json").exists():
            return f"{name} has no config.json"
        return f"{name} cannot be read: {first_line(error)}"
    if name.startswith((".", "/")) or Path(name).suffix or name.count("/") > 1:
        return f"there is no folder {name}"
    return f"{name} is not on this machine and the Hugging Face hub cannot be reached"


def _remedy(name: str) -> str:
    if Path(name).is_dir():
        return "give a folder that save_pretrained wrote, with all its files whole"
    return (
        "give a local folder, connect to the hub (HF_TOKEN for gated models), or use scale=laptop"
    )


def safetensors_header(file: Path) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        BadInput: the file is missing, cut off or of another format.
    """
    with opened_safetensors(file) as opened:
        return opened.metadata() or {}


@contextmanager
def opened_safetensors(file: Path) -> Iterator[Any]:
    """A safetensors file whose tensors are read when they are asked for.

    Raises:
        BadInput: the file is missing, cut off or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            yield opened
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise BadInput(
            f"cannot be read as safetensors ({first_line(error)})",
            where=str(file),
            remedy="give a complete checkpoint",
        ) from error
