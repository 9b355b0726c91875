"""Sub-models that share their parent's weights: Balcony, sorted fine-tuning and UniChart."""
