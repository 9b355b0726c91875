"""Every command of the documentation, as it is written there, but in a few steps on a few records.

Each page is a walk: its commands run one after the other in a folder of their own, where later ones
find what earlier ones made. What stands in capitals is a small model, file or set.
"""

import contextlib
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from chart_sets import write_chart_to_text, write_chartqa, write_opencqa
from hydra import compose, initialize_config_dir

from belvedere.runs.entry import CONFIGS, register_resolvers

PROJECT = Path(__file__).resolve().parents[2]
DOCS = sorted(f"docs/{page.name}" for page in PROJECT.glob("docs/*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BLOCK = re.compile(r"^(?: {4,}\S[^\n]*\n| *\n(?= {4}))+", re.M)
INLINE = re.compile(r"`((?:python|make) [^`]+)`")
PROGRAMS = ("python", "make", "torchrun")
OTHERS = ("pip", "vllm", "llama-cli", "git", ".")
"""Programs that are not this project's, or that set it up."""
ON_THE_HUB = ("ahmed-masry/", "WeOpenML/")
"""What cannot be had here; the published models neither, so that their plans say so in a line."""
TRAIN = "python train.py experiment=balcony_llama3"
"""What ``make train`` does."""
ELSEWHERE = {
    "belvedere.demo": "tests/test_demo.py",
    "belvedere.analysis.pages": "tests/analysis/test_notebooks.py",
}
"""The tests of what never ends, or writes what is committed."""
PLAIN = [
    "samples=[]", "speed={prompt_tokens: 8, new_tokens: 2, repeats: 1}", "data.sequence_length=64",
    "trainer.val_check_interval=1", "trainer.max_steps=1", "trainer.limit_val_batches=1",
    "+trainer.limit_test_batches=1", "data.batch_size=2", "trainer.precision=32-true",
]  # fmt: skip
TEXT = [*PLAIN, "++data.train_tokens=20000", "++data.eval_tokens=500", "data.cache_dir=cache"]
ANSWERED = [*PLAIN, "data.new_tokens=2", "data.answered=2", "data.eval_examples=16"]
READER = [
    "trainer.max_steps=1", "trainer.val_check_interval=1", "data.batch_size=1",
    "model.new_tokens=3", "data.train_charts=4", "data.eval_charts=1",
    "trainer.precision=32-true", "speed.repeats=1",
]  # fmt: skip
STANDING = {
    "MODEL": "small/backbone", "FOLDER_OR_HUB_NAME": "small/backbone",
    "TEXTS": "small/texts", "FILE_OR_FOLDER": "small/texts", "FILE.json": "small/asked.json",
    "PROMPTS.json": "small/asked.json", "INSTRUCTIONS": "small/asked.json",
    "QUESTIONS": "small/questions.jsonl", "FILE.jsonl": "small/questions.jsonl",
    "CHARTQA": "small/chartqa", "OPENCQA": "small/opencqa",
    "CHART_TO_TEXT": "small/chart_to_text",
    "CHART.png": "small/chartqa/test/png/0.png",
    "RUN": "runs/balcony_llama3/latest", "READER": "small/reader", "PARTITION": "any",
    "NAME": "any", "runs/sweeps/DATE": "runs/balcony_llama3",
}  # fmt: skip
"""What stands for the words in capitals."""


def commands_of(page: str) -> list[str]:
    """The commands in a page's blocks of code and in its sentences, in their order."""
    text = (PROJECT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    text = FENCED.sub(lambda m: "" if m[1] else re.sub("^", "    ", m[2], flags=re.M), text)
    blocks = [(found.start(), found[0].splitlines()) for found in BLOCK.finditer(text)]
    single = [(found.start(), [found[1].replace("\n", " ")]) for found in INLINE.finditer(text)]
    commands = []
    for _, lines in sorted(blocks + single):
        for line in lines:
            words = shlex.split(line.replace("…", ""), comments=True)
            if words and words[0] in PROGRAMS + OTHERS:
                commands.append(" ".join(line.split()))
            elif words and re.match(r"[a-z./]+$", words[0]):
                raise AssertionError(f"{page}: what program is {words[0]!r}?")
    return commands


@pytest.fixture
def folder(tmp_path, backbone_folder, reader_folder, sentences) -> Path:
    """A folder with what ships, and with small things for what is one's own."""
    folder = tmp_path
    (folder / "data").symlink_to(PROJECT / "data")
    small = folder / "small"
    (small / "texts").mkdir(parents=True)
    (small / "backbone").symlink_to(backbone_folder)
    (small / "reader").symlink_to(reader_folder)
    for split, part in (("train", sentences[:300]), ("test", sentences[300:])):
        (small / f"texts/{split}.txt").write_text("\n\n".join(part))
    asked = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(40)]
    (small / "asked.json").write_text(json.dumps(asked))
    answers = {"value": "Paris", "aliases": ["Paris"]}
    lines = [json.dumps({"question": f"Where is {n}?", "answer": answers}) for n in range(40)]
    (small / "questions.jsonl").write_text("\n".join(lines))
    write_chartqa(small / "chartqa")
    write_opencqa(small / "opencqa")
    write_chart_to_text(small / "chart_to_text")
    return folder


@pytest.fixture(scope="module")
def done() -> set[str]:
    """What was run already, as pages repeat one another's commands."""
    return set()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_commands(page, folder, done, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    commands = commands_of(page)
    if any(re.search(r"\bRUN\b", command) for command in commands):
        commands = ["make train", *commands]
    for command in commands:
        command = TRAIN if command.startswith("make train") else command
        words = shlex.split(command.replace("…", ""), comments=True)
        words = [standing(word, command) for word in words]
        if str(words) in done and re.search("unichart|data=charts", command):
            continue  # these take longest, and nothing else depends on their runs
        done.add(str(words))
        try:
            follow(words, monkeypatch)
        except BaseException as error:
            raise AssertionError(f"{page}: {command}\n{capsys.readouterr().err[-2000:]}") from error


@pytest.mark.parametrize(
    "page", [*PAGES, *(str(p.relative_to(PROJECT)) for p in PROJECT.glob("data/*/*.md"))]
)
def test_links_lead_somewhere(page):
    file = PROJECT / page
    links = re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (file.parent / link).exists()]
    assert not missing


def standing(word: str, command: str) -> str:
    """A word of a command with small things for those in capitals."""
    if "runs.judge" in command and word in ("RUN", "RIVAL"):
        return "runs/soft_llama2_alpaca/latest"
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}{STANDING.get(value, value)}"


def follow(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command, or as much of it as can be run here."""
    program, *rest = words
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)  # each command sets it for Hydra
    if program in OTHERS:
        return
    if program == "make":
        target = [word for word in rest if "=" not in word]
        dry = ["make", "--dry-run", f"--directory={PROJECT}", *target]
        told = subprocess.run(dry, capture_output=True, text=True, check=True).stdout
        assert told.strip()
    elif program == "torchrun" or "--multirun" in rest:
        composed(rest)
    elif rest[0] == "-m":
        by_module(rest[1], rest[2:], monkeypatch)
    elif rest[0].startswith(("benchmarks/", "tests/")):
        assert (PROJECT / rest[0]).exists()  # in small they are tests of their own
    elif any(word.rpartition("=")[2].startswith(ON_THE_HUB) for word in rest):
        with ending(2):
            run_script(rest[0], rest[1:], monkeypatch)
    else:
        run_script(rest[0], [*rest[1:], *smaller(rest)], monkeypatch)


def smaller(words: list[str]) -> list[str]:
    """What makes a command of one of the four verbs short."""
    verb, given = words[0], " ".join(words)
    if verb == "evaluate.py":
        short = ["data.eval_charts=1", "model.new_tokens=3"]
        return ["limit=2"] if re.search("data=(harness|balcony_table)", given) else short
    if verb == "generate.py":
        return ["max_new_tokens=3"]
    if verb == "export.py":
        return []
    if "unichart" in given:
        return READER
    if not re.search("alpaca|triviaqa", given):
        return [*TEXT, *(["model.exits.depths=[1,2,3]"] if "depths=[8,16,24]" in given else [])]
    # The shipped instructions are too long for the small backbone.
    return [*ANSWERED, *(["data.path=small/asked.json"] if "small/backbone" in given else [])]


def composed(words: list[str]) -> None:
    """Compose what several runs, or several processes, are started with."""
    given = words[words.index("train.py") + 1 :] if "train.py" in words else words
    given = [w for w in given if "=" in w and not w.startswith(("--", "hydra.launcher"))]
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose("train", [re.sub(r"=([^\[{]*?),.*", r"=\1", word) for word in given])
    assert config.trainer.max_steps > 0


def by_module(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m NAME ARGUMENTS`` with fewer charts."""
    if name in ELSEWHERE:
        assert (PROJECT / ELSEWHERE[name]).exists()
        return
    if not name.startswith("belvedere."):
        runpy.run_module(name, run_name="imported", alter_sys=False)
        return
    fewer = [re.sub(r"^(train|validation|test)=\d+$", r"\1=2", word) for word in arguments]
    monkeypatch.setattr(sys, "argv", [name, *fewer])
    hub = "scale=paper" in arguments or any(word.startswith(ON_THE_HUB) for word in arguments)
    with ending(2 if hub else 0):
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_script(verb: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``python VERB ARGUMENTS``, in this process."""
    monkeypatch.setattr(sys, "argv", [verb, *arguments])
    runpy.run_path(str(PROJECT / verb), run_name="__main__")


@contextlib.contextmanager
def ending(code: int) -> Iterator[None]:
    """Expect a program to end with a code; a normal end is 0."""
    ended = 0
    try:
        yield
    except SystemExit as stopped:
        ended = int(stopped.code or 0)
    assert ended == code
