"""Memory of serving all sub-models of a checkpoint against serving the full model alone.

``python benchmarks/serving.py`` loads a saved model of 40 layers in a process of its own and lets
the full model write (``full``), or all 8 sub-models, 12 to 40 layers by 4, one after the other and
all of them alive (``all``).
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from paired import compare
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from belvedere.submodels.speed import peak_bytes
from belvedere.submodels.views import submodel

LAYERS = 40
FOLDER = Path(tempfile.gettempdir()) / "belvedere_serving"


def prepare(hidden: int) -> Path:
    """A checkpoint to serve, written once."""
    folder = FOLDER / str(hidden)
    if not (folder / "model.safetensors").exists():
        config = LlamaConfig(
            hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=LAYERS,
            num_attention_heads=hidden // 64, vocab_size=32_000, tie_word_embeddings=False,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@torch.inference_mode()
def measure(variant: str, args: argparse.Namespace) -> dict[str, float]:
    """Load, serve, and say the seconds of serving and the peak of memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(prepare(args.hidden)).to(device).eval()
    depths = range(12, LAYERS + 1, 4) if variant == "all" else [LAYERS]
    views = [submodel(model, depth) for depth in depths]
    ids = torch.arange(32, device=device)[None]
    start = time.perf_counter()
    for view in views:
        view.generate(ids, max_new_tokens=args.new_tokens, do_sample=False, pad_token_id=0)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": peak_bytes(device), "loss": 0.0}


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--new-tokens", type=int, default=16)
    known, _ = parser.parse_known_args()
    prepare(known.hidden)
    compare(parser, ["full", "all"], measure, [("all", "full")], "peak memory of the process")


if __name__ == "__main__":
    main()
