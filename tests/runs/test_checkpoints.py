"""Checkpoints: whole or not there, damage found and told, and the one before in its place."""

import os
import resource

import pytest
import torch
from omegaconf import OmegaConf

from belvedere.errors import BadInput
from belvedere.runs.checkpoints import (
    DurableCheckpoints,
    checkpoint_to_resume,
    damage,
    file_of,
    saved,
    tidy,
)


@pytest.fixture
def folder(tmp_path):
    """A run's checkpoints of steps 2, 4 and 10."""
    folder = tmp_path / "checkpoints"
    for step in (10, 2, 4):
        DurableCheckpoints().save_checkpoint(
            {"step": step, "weights": torch.arange(5000.0)}, file_of(folder, step)
        )
    return folder


def resumed(folder, resume=True):
    config = OmegaConf.create({"resume": resume, "run_dir": str(folder.parent)})
    return checkpoint_to_resume(config)


def test_the_newest_are_kept_and_last_is_another_name_of_the_newest(folder):
    (folder / "step=12.ckpt.part").write_bytes(b"half")
    tidy(folder)
    assert [file.name for file in saved(folder)] == ["step=10.ckpt", "step=4.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["step"] == 10
    assert sorted(os.listdir(folder)) == ["last.ckpt", "step=10.ckpt", "step=4.ckpt"]
    tidy(folder)  # as the next time
    assert (folder / "last.ckpt").readlink().name == "step=10.ckpt"


def test_every_bit_of_the_weights_is_under_a_checksum(folder):
    file = file_of(folder, 4)
    whole = bytearray(file.read_bytes())
    start = whole.index(torch.arange(5000.0).numpy().tobytes())
    assert damage(file) is None
    for place in range(start, start + 20_000, 1999):
        changed = whole.copy()
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        assert "does not match its checksum" in damage(file)
    for length in (0, 1, 1000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert "torn" in damage(file)


def test_of_a_damaged_checkpoint_the_one_before_takes_the_place(folder, caplog):
    assert resumed(folder) == str(file_of(folder, 10))
    file_of(folder, 10).write_bytes(file_of(folder, 10).read_bytes()[:-100])
    assert resumed(folder) == str(file_of(folder, 4))
    assert "step=10.ckpt is damaged, and left aside" in caplog.text
    with pytest.raises(BadInput, match=r"step=10\.ckpt: is damaged"):
        resumed(folder, str(file_of(folder, 10)))
    for step in (2, 4):
        file_of(folder, step).write_bytes(b"")
    with pytest.raises(BadInput, match="all checkpoints are damaged"):
        resumed(folder)


def test_a_run_without_a_checkpoint_starts_from_its_beginning(tmp_path, caplog):
    assert resumed(tmp_path / "checkpoints") is None
    assert "starts from its beginning" in caplog.text
    with pytest.raises(BadInput, match="there is no checkpoint"):
        resumed(tmp_path / "checkpoints", str(tmp_path / "nothing.ckpt"))
    assert resumed(tmp_path / "checkpoints", resume=False) is None


def test_a_disk_without_room_is_one_line_and_what_was_there_stays(folder):
    before = file_of(folder, 10).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(BadInput, match=r"step=10\.ckpt: cannot be written \(File too large\)"):
            DurableCheckpoints().save_checkpoint(
                {"weights": torch.zeros(1_000_000)}, file_of(folder, 10)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file_of(folder, 10).read_bytes() == before
    assert not list(folder.glob("*.part"))


def test_a_folder_that_is_read_only_is_one_line(folder, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("belvedere.runs.checkpoints.os.replace", refused)
    with pytest.raises(BadInput, match="Permission denied"):
        DurableCheckpoints().save_checkpoint({"step": 4}, file_of(folder, 4))
