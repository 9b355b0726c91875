"""LayerSkip: continual training of the whole model with layer dropout and early-exit losses."""

from belvedere.layerskip.module import LayerSkipModule

__all__ = ["LayerSkipModule"]
