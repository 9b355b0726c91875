"""What every run shares: the entry, training, reports and figures.

Only the verbs use it, and what shows runs: `analysis` and `demo`.
"""
