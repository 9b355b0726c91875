"""Measures of quality as torchmetrics."""
