# SPDX-License-Identifier: Apache-2.0
"""The study's tables, made from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.comparison import Mean, ProbeTable, difference, figure, mean_of
from study.results import ArmResult

FIGURES: Mapping[str, str] = {
    "held_out": "held-out views of all that was seen",
    "first": "first chunk's views",
    "newest": "newest chunk's views",
    "gap": "observed minus held-out views",
}


def arms_table(results: Sequence[ArmResult], chunk_counts: Sequence[int], cost: Mapping[str, float]) -> str:
    """All arms with one set of weights, a row each.

    Args:
        results: one an arm, all with the same weights.
        chunk_counts: which columns.
        cost: seconds for a stream by the arm's name, plain LaCT's among them; arms that are not in it show no cost.
    """
    heads = [f"all, K={k}" for k in chunk_counts] + [f"first, K={k}" for k in chunk_counts]
    last = chunk_counts[-1]
    heads += [f"newest, K={last}", f"gap, K={last}", "pull / update", "cost"]
    lines = ["| rule | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for result in results:
        cells = [f"{figure([result], name, k).mean():.2f}" for name in ("held_out", "first") for k in chunk_counts]
        cells += [f"{figure([result], name, last).mean():.2f}" for name in ("newest", "gap")]
        ratio = pull_ratios(result, last)
        cells.append(f"{sum(ratio) / len(ratio):.3f}" if ratio else "")
        name = str(result.arm["name"])
        cells.append(f"x{cost[name] / cost['plastic']:.2f}" if name in cost else "")
        lines.append(f"| {result.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pull_ratios(result: ArmResult, chunk_count: int) -> list[float]:
    """``|pull| / |update|`` of every layer, mean over scenes."""
    place = result.chunk_counts.index(chunk_count)
    layers = [scene.pull_ratio[place] for scene in result.scenes if scene.pull_ratio]
    return [sum(column) / len(layers) for column in zip(*layers, strict=True)]


def ratios_table(results: Sequence[ArmResult], chunk_count: int) -> str:
    """``|pull| / |update|`` of each layer under each arm."""
    layers = max(len(pull_ratios(result, chunk_count)) for result in results)
    lines = ["| rule | " + " | ".join(f"layer {i + 1}" for i in range(layers)) + " |", "|---" * (layers + 1) + "|"]
    for result in results:
        lines.append(f"| {result.title} | " + " | ".join(f"{r:.4f}" for r in pull_ratios(result, chunk_count)) + " |")
    return "\n".join(lines)


def twins_table(groups: Mapping[str, Sequence[ArmResult]], name: str, chunk_counts: Sequence[int]) -> str:
    """One figure of trained arms, seeds averaged, with standard errors over scenes."""
    lines = ["| trained and used with | " + " | ".join(f"K={k}" for k in chunk_counts) + " |"]
    lines.append("|---" * (len(chunk_counts) + 1) + "|")
    for title, results in groups.items():
        cells = [str(mean_of(figure(results, name, k))) for k in chunk_counts]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences_table(
    chosen: Sequence[ArmResult], others: Mapping[str, Sequence[ArmResult]], chunk_counts: Sequence[int]
) -> str:
    """What the chosen arm scores above others, paired; the seeds' own means in brackets."""
    lines = ["| figure | above | " + " | ".join(f"K={k}" for k in chunk_counts) + " |"]
    lines.append("|---" * (len(chunk_counts) + 2) + "|")
    for name, words in FIGURES.items():
        for title, results in others.items():
            cells = [_told(difference(chosen, results, name, k)) for k in chunk_counts]
            lines.append(f"| {words} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves_table(
    groups: Mapping[str, Sequence[ArmResult]],
    probes: ProbeTable,
    pair: tuple[str, Sequence[ArmResult], Sequence[ArmResult]] | None = None,
) -> str:
    """Quality of what nobody saw, by metres, radians and seconds to the nearest observed view.

    Args:
        groups: the arms, one result a seed.
        probes: where they are.
        pair: a title and two arms, for a row of what the first scores above the second.
    """
    blocks = []
    for name, unit in (("metres", "m"), ("radians", "rad"), ("seconds", "s")):
        curves = {title: probes.curves(results)[name] for title, results in groups.items()}
        first = next(iter(curves.values()))
        head = " | ".join(f"{each.where:.2g} {unit} ({each.probes})" for each in first)
        rows = [
            f"| {title} | " + " | ".join(f"{each.value:.2f} ± {each.error:.2f}" for each in curve) + " |"
            for title, curve in curves.items()
        ]
        if pair is not None:
            title, one, other = pair
            gained = probes.curves(one, other)[name]
            rows.append(f"| {title} | " + " | ".join(f"{each.value:+.2f} ± {each.error:.2f}" for each in gained) + " |")
        blocks.append("\n".join([f"| by {name} (probes) | {head} |", "|---" * (len(first) + 1) + "|", *rows]))
    return "\n\n".join(blocks)


def _told(mean: Mean) -> str:
    return f"{mean.signed} ({', '.join(f'{seed:+.2f}' for seed in mean.seeds)})"
