"""Tokenises files once, into memory-mapped arrays that later runs open at once.

A cache is a folder named by the hash of all that decides its content: the bytes of the files, the
tokenizer, the column and the shares. It is written beside and renamed, so that it is whole or not
there.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import batched_compat as batched
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase
