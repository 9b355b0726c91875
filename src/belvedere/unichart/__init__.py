"""UniChart: a Swin chart encoder and an mBART decoder that reads its states."""
