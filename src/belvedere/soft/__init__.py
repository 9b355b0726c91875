"""Sorted fine-tuning of decoders (arXiv 2309.08968) and what it is measured against."""

from belvedere.soft.extracted import ExtractedModule
from belvedere.soft.module import SoFTModule
from belvedere.soft.schedule import Sorting

__all__ = ["ExtractedModule", "SoFTModule", "Sorting"]
