"""Cut a decoder at a depth: views, exits and losses; knows nothing of Lightning or Hydra."""
