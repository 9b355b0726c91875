"""The chart corpus: tables, styles, rendering, elements, questions and summaries."""
