"""One process against two, in short; ``python tests/parity.py`` compares more."""

import subprocess
import sys
from pathlib import Path

PARITY = Path(__file__).with_name("parity.py")


def test_two_processes_share_a_run_and_go_on_with_that_of_one() -> None:
    options = ["data.eval_tokens=4000"]
    command = [
        sys.executable, str(PARITY), "--experiments", "balcony_llama3", "--strategies", "fsdp",
        "--options", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "balcony_llama3, fsdp",
        "balcony_llama3, fsdp, then alone",
        "balcony_llama3, alone, then fsdp",
    ]
