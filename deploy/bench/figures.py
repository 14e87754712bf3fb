"""The figures of `tally bench ciphers`, as they stand in its JSON: seconds of one core, bytes, ratios."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

WIDTH: Final = 110  # columns of the tables


class Figures(BaseModel):
    """Read-only, and nothing but what is named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Figures):
    """Where it was measured, and with what."""

    processor: str
    cores: int
    python: str
    packages: dict[str, str]
    kernels: str  # the code that does the ring's work at the largest size
    busy: float  # seconds on the wall for each second of CPU: 1 where nothing else ran


class SuiteCosts(Figures):
    """One suite at one length: an update, one more update in a total, an opening of that total."""

    first_s: float  # the first encryption in a process: tables are built, compiled code is loaded
    encrypt_s: float  # integers to the bytes of capsule and body
    commit_s: (
        float  # the same with the update's tree and submission proof: all that a node does before it commits
    )
    add_s: float  # one more party in a total, bytes to bytes
    check_s: float  # the public checks of one update: every leaf, the tree, the proof
    share_s: float  # one member's share, with its proof
    check_share_s: float  # one share's proof
    join_s: float  # t shares to an opening
    check_opening_s: float  # anyone: the opening is the only possible one
    open_s: float  # anyone: opening and total to integers, noise and padding checked
    bytes_per_param: float  # of an update, proof included
    share_bytes: int
    peak_mb: float  # the most beyond the party's own vector in encrypting, checking, adding or opening


class PaillierCosts(SuiteCosts):
    """Every value under Paillier, and `phe` under the same modulus with one float to a ciphertext."""

    values: int
    params_per_s: float
    phe_params_per_s: float
    ratio: float
    phe_add_s: float  # one parameter
    phe_bytes_per_param: float


class TensealMode(Figures):
    """CKKS by TenSEAL, encrypted with the public key or with the secret one."""

    encrypt_s: float
    serialise_s: float
    load_s: float  # what an aggregator does to each update before it adds
    add_s: float  # one more party, of ciphertexts already loaded
    decrypt_s: float  # with the one secret key
    bytes_per_param: float
    largest_error: float  # of a sum of two values in [-1, 1]


class Tenseal(Figures):
    """The peer of `hybrid`."""

    values: int
    settings: str
    symmetric: TensealMode  # as NVIDIA FLARE: every client holds the secret key
    asymmetric: TensealMode


class Floor(Figures):
    """What as many plain float32 parameters cost, and ours as multiples of that."""

    add_float32_s: float
    sha256_s: float
    encrypt_over_add: float
    encrypt_over_sha256: float
    open_over_add: float
    open_over_sha256: float


class Profile(Figures):
    """Where the seconds of `hybrid` go: parts timed alone, and what they leave unexplained."""

    encrypt: dict[str, float]
    commit: dict[str, float]
    check: dict[str, float]
    open: dict[str, float]


class Point(Figures):
    """Both suites at one length: all that one update and one opening cost."""

    values: int
    paillier_s: float
    hybrid_s: float
    paillier_bytes: int
    hybrid_bytes: int


class Crossover(Figures):
    """From how many values on `hybrid` costs less than `paillier`, there and at all greater lengths."""

    seconds_from: int  # between two lengths that were measured, on a straight line
    bytes_from: int  # exact
    points: list[Point]


class Goal(Figures):
    """What was asked for, and what was found."""

    what: str
    wanted: str
    found: float
    met: bool


class CipherReport(Figures):
    """All of it. Lengths and key sizes, as decimal text, are keys."""

    machine: Machine
    paillier: dict[str, PaillierCosts]
    hybrid: dict[str, SuiteCosts]
    tenseal: Tenseal
    floor: dict[str, Floor]
    profile: dict[str, Profile]
    crossover: Crossover
    goals: list[Goal]
