"""The shipped text corpus: true facts, stories, instructions and questions that a program can make.

``facts`` gathers the facts, ``phrasing`` tells them, ``stories`` and ``instructions`` make texts
with computable outcomes, ``build`` mixes everything and writes ``data/``.
"""
