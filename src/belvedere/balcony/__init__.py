"""Balcony: exits of one layer on a frozen backbone, trained to say what the full model says."""

from belvedere.balcony.module import BalconyModule, Distillation, Lora

__all__ = ["BalconyModule", "Distillation", "Lora"]
