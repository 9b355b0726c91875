import pytest
from torch.utils.data import DataLoader, Dataset

from belvedere.errors import BadInput


class Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise BadInput("the picture is damaged", where="a.png", remedy="save it again")


def test_a_message_from_a_worker_is_the_same_line() -> None:
    with pytest.raises(BadInput) as raised:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert str(raised.value) == "a.png: the picture is damaged; save it again"


def test_tokens_of_the_hub_are_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_" + "aB3" * 11
    assert str(BadInput(f"no access by {token}, it says")) == "no access by hf_***, it says"
    monkeypatch.setenv("HF_TOKEN", "of another form")
    assert str(BadInput("refused: of another form")) == "refused: hf_***"
