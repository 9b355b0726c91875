"""What every run shares: the entry, training, reports and figures. Only the four verbs use it."""
