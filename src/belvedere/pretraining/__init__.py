"""Ordinary language-model training of a backbone: how the shipped one was made."""

from belvedere.pretraining.module import PretrainModule

__all__ = ["PretrainModule"]
