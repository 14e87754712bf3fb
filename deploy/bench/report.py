"""The figures as people read them: the tables on a terminal and in docs, and the plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from .figures import CipherReport, Profile, SuiteCosts

_STEPS: Final = (
    "encrypt",
    "commit",
    "add",
    "check",
    "share",
    "check_share",
    "join",
    "check_opening",
    "open",
)


def show(report: CipherReport, out: Console) -> None:
    """Every table."""
    machine = report.machine
    packages = ", ".join(f"{name} {found}" for name, found in machine.packages.items())
    _line(out, f"{machine.processor}, {machine.cores} cores; one of them is measured, in seconds of CPU.")
    _line(out, f"Python {machine.python}, {packages}; {machine.kernels}.")
    _line(out, f"The machine was shared: {machine.busy:.2f} s on the wall for each second of CPU.")
    out.print(_costs(report))
    out.print(_peers(report))
    out.print(_floor(report))
    for count, profile in report.profile.items():
        out.print(_profile(f"hybrid, {int(count):,} values", profile))
    crossing = report.crossover
    _line(out, f"hybrid takes less time from {crossing.seconds_from:,} values on, ", end="")
    _line(out, f"and fewer bytes from {crossing.bytes_from:,} on.")
    out.print(_goals(report))


def draw(report: CipherReport, path: Path) -> None:
    """Encryption and traffic of ours and of our peers, on logarithmic scales, as one SVG."""
    bars = list(_bars(report))
    names = [name for name, _, _ in bars]
    spent, sent = [spent for _, spent, _ in bars], [sent for _, _, sent in bars]
    with mpl.rc_context({"svg.hashsalt": "tallystick", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(7.6, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        colours = ["#2a6f97" if name.startswith(("hybrid", "paillier")) else "#b0b0b0" for name in names]
        for axes, values, title in (
            (left, spent, "encrypt 1M parameters, seconds of one core"),
            (right, sent, "bytes a parameter"),
        ):
            drawn = axes.barh(names, values, color=colours)
            axes.bar_label(
                drawn,
                labels=[f"{value:,.0f}" if value > 99 else f"{value:.3g}" for value in values],
                padding=2,
            )
            axes.set_xscale("log")
            axes.set_title(title, fontsize=8)
            axes.set_xlim(left=min(values) / 4, right=max(values) * 8)
            axes.spines[["top", "right"]].set_visible(False)
        left.invert_yaxis()
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _bars(report: CipherReport) -> Iterable[tuple[str, float, float]]:
    """Name, seconds for a million parameters, bytes a parameter; from the shortest length measured."""
    count, hybrid = next(iter(report.hybrid.items()))
    bits, paillier = next(iter(report.paillier.items()))
    tenseal = report.tenseal
    scale = 1_000_000 / tenseal.values
    yield "SHA-256, no cipher", report.floor[count].sha256_s * 1_000_000 / int(count), 4
    yield "hybrid", hybrid.encrypt_s * 1_000_000 / int(count), hybrid.bytes_per_param
    yield "TenSEAL, secret key", tenseal.symmetric.encrypt_s * scale, tenseal.symmetric.bytes_per_param
    yield "TenSEAL, public key", tenseal.asymmetric.encrypt_s * scale, tenseal.asymmetric.bytes_per_param
    yield f"paillier {bits}", 1_000_000 / paillier.params_per_s, paillier.bytes_per_param
    yield f"phe {bits}", 1_000_000 / paillier.phe_params_per_s, paillier.phe_bytes_per_param


def _costs(report: CipherReport) -> Table:
    table = Table(title="seconds of one core")
    columns: dict[str, SuiteCosts] = {
        f"paillier {bits}, {paillier.values:,}": paillier for bits, paillier in report.paillier.items()
    }
    columns |= {f"hybrid, {int(count):,}": costs for count, costs in report.hybrid.items()}
    table.add_column("step")
    for name in columns:
        table.add_column(name, justify="right")
    for step in _STEPS:
        row = (f"{getattr(costs, f'{step}_s'):.4f}" for costs in columns.values())
        table.add_row(step.replace("_", " "), *row)
    table.add_row("first encryption in a process", *(f"{costs.first_s:.4f}" for costs in columns.values()))
    table.add_row("bytes a parameter", *(f"{costs.bytes_per_param:.3f}" for costs in columns.values()))
    table.add_row("bytes of a share", *(f"{costs.share_bytes:,}" for costs in columns.values()))
    table.add_row("peak MB beyond own vector", *(f"{costs.peak_mb:.1f}" for costs in columns.values()))
    return table


def _peers(report: CipherReport) -> Table:
    tenseal, table = report.tenseal, Table(title="peers, seconds of one core")
    names = (f"TenSEAL, secret key, {tenseal.values:,}", f"TenSEAL, public key, {tenseal.values:,}")
    for column in ("step", *names):
        table.add_column(column, justify="left" if column == "step" else "right")
    modes = (tenseal.symmetric, tenseal.asymmetric)
    for step in ("encrypt", "serialise", "load", "add", "decrypt"):
        table.add_row(step, *(f"{getattr(mode, f'{step}_s'):.4f}" for mode in modes))
    table.add_row("bytes a parameter", *(f"{mode.bytes_per_param:.2f}" for mode in modes))
    table.add_row("largest error of a sum of two", *(f"{mode.largest_error:.1e}" for mode in modes))
    for bits, paillier in report.paillier.items():
        each = f"{1 / paillier.phe_params_per_s:.4f} encrypt, {paillier.phe_add_s:.1e} add"
        table.add_row(f"phe {bits}, each parameter", each, f"{paillier.phe_bytes_per_param:.0f} bytes")
    return table


def _floor(report: CipherReport) -> Table:
    table = Table(title="the floor: float32 addition and SHA-256 of as many parameters")
    for column in ("parameters", "addition s", "SHA-256 s", "encrypt", "open"):
        table.add_column(column, justify="right")
    for count, floor in report.floor.items():
        encrypt = f"{floor.encrypt_over_add:.0f} × addition, {floor.encrypt_over_sha256:.0f} × SHA-256"
        opened = f"{floor.open_over_add:.0f} × addition, {floor.open_over_sha256:.0f} × SHA-256"
        times = (f"{floor.add_float32_s:.5f}", f"{floor.sha256_s:.5f}")
        table.add_row(f"{int(count):,}", *times, encrypt, opened)
    return table


def _profile(title: str, profile: Profile) -> Table:
    table = Table(title=f"where the time goes: {title}")
    for column in ("step", "part", "ms", "of the step"):
        table.add_column(column, justify="left" if column in {"step", "part"} else "right")
    for step in ("encrypt", "commit", "check", "open"):
        parts: Mapping[str, float] = getattr(profile, step)
        whole = sum(parts.values())
        for part, spent in parts.items():
            table.add_row(step, part, f"{1000 * spent:.2f}", f"{spent / whole:.0%}")
        table.add_section()
    return table


def _goals(report: CipherReport) -> Table:
    table = Table(title="what was asked for")
    for column in ("goal", "wanted", "found", ""):
        table.add_column(column)
    for goal in report.goals:
        table.add_row(goal.what, goal.wanted, f"{goal.found:.3g}", "met" if goal.met else "missed")
    return table


def _line(out: Console, text: str, *, end: str = "\n") -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True, end=end)
