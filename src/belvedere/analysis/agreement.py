"""Where sub-models say what the full model says: by kind of token, position, frequency, certainty.

All functions take the tokens of `belvedere.analysis.tokens.measure_tokens`.
"""

import numpy as np
import pandas as pd

AGREES, KL = "_agrees", "_kl"
"""Endings of the columns of tokens that are put together by group."""
FEWEST = 50
"""A group of fewer tokens is not shown: its share says little."""
SURE_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 1.0)
"""Edges of the groups of tokens by the full model's highest probability."""
RAW = "raw_"
OUTCOMES = ("both agree", "repaired", "broken", "neither agrees")
"""What a trained exit does to a token, beside the raw early exit at its depth."""


def submodels_of(tokens: pd.DataFrame) -> list[str]:
    """The names of the sub-models that were measured; raw early exits are the last."""
    names = [name.removesuffix(AGREES) for name in tokens if name.endswith(AGREES)]
    return sorted(names, key=lambda name: name.startswith(RAW))


def by_kind(tokens: pd.DataFrame) -> pd.DataFrame:
    """Agreement of each sub-model with the full model for each kind of token, most often met first.

    The index is the kind, ``tokens`` says how many there are, and each sub-model has a column.
    """
    found = shares(tokens, tokens["kind"])
    return found.sort_values("tokens", ascending=False)


def by_position(tokens: pd.DataFrame) -> pd.DataFrame:
    """Agreement by octaves of the position in the document; the index is each octave's first."""
    return shares(tokens, octave(tokens["position"]))


def by_rank(tokens: pd.DataFrame) -> pd.DataFrame:
    """Agreement by octaves of the token's rank in the training text; the index is the first rank.

    Tokens that the training text does not have are left out.
    """
    there = tokens[tokens["rank"] > 0]
    return shares(there, octave(there["rank"]))


def by_sureness(tokens: pd.DataFrame) -> pd.DataFrame:
    """Agreement by the full model's highest probability; the index is the middle of each group."""
    return shares(tokens, sureness(tokens))


def kl_by_sureness(tokens: pd.DataFrame) -> pd.DataFrame:
    """The mean KL in nats by the full model's highest probability, in the form of `by_sureness`."""
    return shares(tokens, sureness(tokens), KL)


def sureness(tokens: pd.DataFrame) -> pd.Series:
    """Of each token the middle of the two `SURE_EDGES` that its highest probability is between."""
    edges = np.asarray(SURE_EDGES)
    group = np.clip(np.searchsorted(edges, tokens["sure"], side="right") - 1, 0, len(edges) - 2)
    middles = (edges[1:] + edges[:-1]) / 2
    return pd.Series(middles[group], index=tokens.index)


def octave(numbers: pd.Series) -> pd.Series:
    """The greatest power of two that is not above each number (from 1)."""
    return (2 ** np.floor(np.log2(numbers))).astype(int)


def shares(tokens: pd.DataFrame, groups: pd.Series, measure: str = AGREES) -> pd.DataFrame:
    """How many tokens each group has, and each sub-model's agreement in it, from 0 to 1.

    Groups of fewer than `FEWEST` tokens are left out.

    Args:
        tokens: as of `measure_tokens`.
        groups: which one each token is in.
        measure: `AGREES`, or `KL` for the mean KL in the place of agreement.
    """
    names = submodels_of(tokens)
    parts = tokens[[name + measure for name in names]].groupby(groups, observed=True)
    found = parts.mean().set_axis(names, axis=1)
    found.insert(0, "tokens", parts.size())
    return found[found["tokens"] >= FEWEST]


def repairs(tokens: pd.DataFrame) -> pd.DataFrame:
    """For each trained exit, the share of the tokens of each of `OUTCOMES`.

    A token is repaired where the exit agrees with the full model and the raw early exit at its
    depth does not, broken the other way round. Empty if there are no raw early exits.
    """
    return pd.DataFrame(
        {name: _outcomes(tokens, name).value_counts(normalize=True) for name in trained(tokens)},
        index=pd.Index(OUTCOMES),
    ).fillna(0.0).T  # fmt: skip


def repaired_tokens(tokens: pd.DataFrame, name: str, count: int = 8) -> pd.DataFrame:
    """The tokens that an exit repairs most often, and those at which it differs most often.

    Args:
        tokens: as of `measure_tokens`.
        name: of the exit.
        count: how many of each.

    Returns:
        ``repaired`` and ``still differs``: texts with how often that is so, of how often they are
        met.
    """
    outcomes = _outcomes(tokens, name)
    texts = tokens["text"].astype(str)
    met = texts.value_counts()
    columns = {}
    for title, wanted in (("repaired", ["repaired"]), ("still differs", OUTCOMES[2:])):
        often = texts[outcomes.isin(wanted)].value_counts().head(count)
        columns[title] = [f"{shown(text)}  {n} of {met[text]}" for text, n in often.items()]
    return pd.DataFrame({title: pd.Series(column) for title, column in columns.items()}).fillna("")


def shown(text: object) -> str:
    """A token's text so that blanks can be seen; what ends a text has a name."""
    return str(text).replace(" ", "␣").replace("\n", "⏎") or "end of text"


def trained(tokens: pd.DataFrame) -> list[str]:
    """The exits that a raw early exit was measured beside."""
    names = submodels_of(tokens)
    return [name for name in names if RAW + name in names]


def _outcomes(tokens: pd.DataFrame, name: str) -> pd.Series:
    exit, raw = tokens[name + AGREES], tokens[RAW + name + AGREES]
    chosen = np.select([exit & raw, exit & ~raw, raw & ~exit], OUTCOMES[:3], OUTCOMES[3])
    return pd.Series(chosen, index=tokens.index)


def said_of_groups(found: pd.DataFrame, what: str) -> str:
    """Where each trained sub-model agrees least and most, in a sentence each.

    Args:
        found: as of `shares`.
        what: the groups are, such as "kind of token".
    """
    names = [name for name in found if name != "tokens" and not str(name).startswith(RAW)]
    lines = [
        f"{called(name)}: least {found[name].min():.1%} ({what} {named(found[name].idxmin())}), "
        f"most {found[name].max():.1%} ({what} {named(found[name].idxmax())})."
        for name in names
    ]
    return "\n".join(lines)


def said_of_kl(found: pd.DataFrame) -> str:
    """How sure the full model is where each trained sub-model is farthest from it.

    Args:
        found: as of `kl_by_sureness`.
    """
    names = [name for name in found if name != "tokens" and not str(name).startswith(RAW)]
    return "\n".join(
        f"{called(name)}: the mean KL is highest, {found[name].max():.2f} nats, where the full "
        f"model's highest probability is near {named(found[name].idxmax())}."
        for name in names
    )


def said_of_repairs(found: pd.DataFrame) -> str:
    """What share of the raw early exit's disagreements each exit repairs, and what it breaks."""
    lines = []
    for name, row in found.iterrows():
        wrong = row["repaired"] + row["neither agrees"]
        lines.append(
            f"{called(name)} repairs {row['repaired'] / wrong:.1%} of the tokens at which the raw "
            f"early exit differs from the full model; of all tokens it breaks {row['broken']:.1%}."
        )
    return "\n".join(lines)


def percents(found: pd.DataFrame) -> pd.DataFrame:
    """A table of shares with its numbers as percentages; counts of tokens stay as they are."""
    return pd.DataFrame(
        {
            str(name).replace("_", " "): [
                f"{value:,.0f}" if name == "tokens" else f"{value:.1%}" for value in column
            ]
            for name, column in found.items()
        },
        index=found.index,
    )


def called(name: object) -> str:
    """A sub-model's name as prose has it: ``raw_exit_2`` is "Raw exit 2"."""
    return str(name).replace("_", " ").capitalize()


def named(group: object) -> str:
    """A group's name as prose has it."""
    return f"{group:g}" if isinstance(group, int | float | np.number) else str(group)
