"""Both suites, their peers and the floor, measured in one run on one core."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from federation.ciphers.ring.element import VALUES
from federation.ciphers.ring.kernels import kernels_for
from federation.ciphers.suite import Dealing

from .clock import hushed, one_core, race, settled
from .crossover import LENGTHS, crossover
from .figures import CipherReport, Floor, Goal, Machine, PaillierCosts, SuiteCosts, Tenseal
from .parts import Parts
from .peers import SETTINGS, CkksVector, Phe, PlainFloats
from .subject import Subject

_PACKAGES: Final = ("numpy", "numba", "gmpy2", "cryptography", "phe", "tenseal")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how often."""

    hybrid: tuple[int, ...] = (1_000_000, 10_000_000)  # lengths, increasing; peers get the first
    paillier: int = 25_000  # values
    crossover: tuple[int, ...] = LENGTHS
    laps: int = 7  # for what takes less than a second
    joint_laps: int = 3  # for openings under `paillier`, which take minutes

    def quick(self) -> Plan:
        """A look in a minute, with more noise."""
        return Plan(
            hybrid=self.hybrid[:1],
            paillier=self.paillier // 10,
            crossover=self.crossover[1::2],
            laps=2,
            joint_laps=1,
        )


def measure(plan: Plan, dealing: Dealing, *, bits: int, tell: Tell) -> CipherReport:
    """All figures; `tell` hears what is being measured."""
    wall, core = time.monotonic(), time.process_time()
    with one_core(), settled(), hushed():
        tell("paillier and phe")
        paillier = _paillier(plan, dealing)
        tell(f"hybrid at {', '.join(f'{count:,}' for count in plan.hybrid)}; TenSEAL; plain floats")
        subjects = {str(count): Subject("hybrid", dealing, count) for count in plan.hybrid}
        took, tenseal, floors = _beside_peers(plan, subjects)
        hybrid = {count: subjects[count].costs(took[count], laps=plan.laps) for count in subjects}
        tell("the profile")
        profile = {count: Parts(subject).profile(laps=plan.laps) for count, subject in subjects.items()}
        tell("the crossover")
        crossing = crossover(dealing, plan.crossover, laps=plan.joint_laps)
    busy = (time.monotonic() - wall) / (time.process_time() - core)
    floor = {count: _floor(floors[count], costs) for count, costs in hybrid.items()}
    return CipherReport(
        machine=_machine(plan, busy),
        paillier={str(bits): paillier},
        hybrid=hybrid,
        tenseal=tenseal,
        floor=floor,
        profile=profile,
        crossover=crossing,
        goals=_goals(paillier, list(hybrid.values()), tenseal),
    )


def _paillier(plan: Plan, dealing: Dealing) -> PaillierCosts:
    subject, phe = Subject("paillier", dealing, plan.paillier), Phe(dealing.public_key)
    took = race(subject.cheap_steps() | phe.works, laps=plan.laps)
    phe_encrypt, phe_add = (phe.each(took.pop(step)) for step in ("phe_encrypt", "phe_add"))
    encrypt = took["encrypt"]
    took |= race(subject.joint_steps(), laps=plan.joint_laps)
    return PaillierCosts(
        **subject.costs(took, laps=plan.joint_laps).model_dump(),
        values=plan.paillier,
        params_per_s=plan.paillier / encrypt,
        phe_params_per_s=1 / phe_encrypt,
        ratio=plan.paillier / encrypt * phe_encrypt,
        phe_add_s=phe_add,
        phe_bytes_per_param=phe.bytes_per_param,
    )


def _beside_peers(
    plan: Plan, subjects: dict[str, Subject]
) -> tuple[dict[str, dict[str, float]], Tenseal, dict[str, dict[str, float]]]:
    """Every step of every length, of TenSEAL and of plain floats, in turns."""
    symmetric, asymmetric = (CkksVector(plan.hybrid[0], symmetric=kind) for kind in (True, False))
    groups = {f"hybrid {count}": s.cheap_steps() | s.joint_steps() for count, s in subjects.items()}
    groups |= {f"floor {count}": PlainFloats(int(count)).works for count in subjects}
    groups |= {"symmetric": symmetric.works, "asymmetric": asymmetric.works}
    works = {(group, step): work for group, steps in groups.items() for step, work in steps.items()}
    names = {f"{group}/{step}": work for (group, step), work in works.items()}
    took = race(names, laps=plan.laps)
    found = {group: {step: took[f"{group}/{step}"] for step in steps} for group, steps in groups.items()}
    tenseal = Tenseal(
        values=plan.hybrid[0],
        settings=SETTINGS,
        symmetric=symmetric.mode(found["symmetric"]),
        asymmetric=asymmetric.mode(found["asymmetric"]),
    )
    ours = {count: found[f"hybrid {count}"] for count in subjects}
    return ours, tenseal, {count: found[f"floor {count}"] for count in subjects}


def _floor(took: dict[str, float], costs: SuiteCosts) -> Floor:
    add, sha256 = took["add"], took["sha256"]
    return Floor(
        add_float32_s=add,
        sha256_s=sha256,
        encrypt_over_add=costs.encrypt_s / add,
        encrypt_over_sha256=costs.encrypt_s / sha256,
        open_over_add=costs.open_s / add,
        open_over_sha256=costs.open_s / sha256,
    )


def _goals(paillier: PaillierCosts, hybrid: Sequence[SuiteCosts], tenseal: Tenseal) -> list[Goal]:
    """At the first length, but for what compares it with the last."""
    first, last = hybrid[0], hybrid[-1]
    joint = {"share": last.share_s / first.share_s, "join": last.join_s / first.join_s}
    goals = [
        _at_least("paillier: parameters a second, times phe", 1500, paillier.ratio),
        _at_least(
            "hybrid: encrypts faster than TenSEAL with its public key, times",
            5,
            tenseal.asymmetric.encrypt_s / first.encrypt_s,
        ),
        _at_least(
            "hybrid: encrypts faster than TenSEAL with its secret key, times",
            5,
            tenseal.symmetric.encrypt_s / first.encrypt_s,
        ),
        _at_most("hybrid: bytes a parameter", 4.2, first.bytes_per_param),
        _at_most("hybrid: one more party, of its encryption", 1 / 50, first.add_s / first.encrypt_s),
    ]
    if last is not first:
        goals += [
            _at_most(f"hybrid: {step} at the greatest length, of that at the least", 1.2, ratio)
            for step, ratio in joint.items()
        ]
    return goals


def _at_least(what: str, wanted: float, found: float) -> Goal:
    return Goal(what=what, wanted=f"≥ {wanted:g}", found=found, met=found >= wanted)


def _at_most(what: str, wanted: float, found: float) -> Goal:
    return Goal(what=what, wanted=f"≤ {wanted:g}", found=found, met=found <= wanted)


def _machine(plan: Plan, busy: float) -> Machine:
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        kernels=type(kernels_for(-(-plan.hybrid[-1] // VALUES))).__name__,
        busy=busy,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
