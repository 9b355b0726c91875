"""A page to try sub-models and the chart reader on: ``python -m belvedere.demo``."""
