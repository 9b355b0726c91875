"""One decoding engine for a model and all its sub-models.

- `belvedere.submodels.engine.cascade`: a model cut into stages at the depths of its exits.
- `belvedere.submodels.engine.session`: sequences on their way through the stages, and their cache.
- `belvedere.submodels.engine.strategies`: which tokens go how deep: full, exit, confident,
  speculative.
- `belvedere.submodels.engine.generation`: from prompts to answers.
"""
