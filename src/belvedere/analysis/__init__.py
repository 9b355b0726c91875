"""What the notebooks show of runs: tables and figures, measured and drawn by plain functions."""

import warnings

# Without ipywidgets progress bars are plain ones, of which tqdm warns whoever imports it.
warnings.filterwarnings("ignore", message="IProgress not found")
