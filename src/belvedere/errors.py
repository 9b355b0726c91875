"""The one exception for input that a person can put right."""


class BadInput(ValueError):
    """Input that cannot be used: says what, where and the remedy, in one line.

    The four verbs catch it, print the line and end with exit code 2.

    Args:
        what: what is wrong, without a full stop.
        where: the place, as ``file:line``, a path or a configuration key.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))
