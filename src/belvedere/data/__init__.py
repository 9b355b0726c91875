"""LightningDataModules, and how their records are read, tokenised once and packed into rows."""
