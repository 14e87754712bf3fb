"""What others use, as they use it: `phe`, TenSEAL, and no cipher at all.

`phe` is given our modulus, so both raise to powers of the same length. TenSEAL is given the parameters
that NVIDIA FLARE's provisioning writes (`nvflare/lighter/impl/he.py`): 128-bit security for a ring of
8192, sums of 40-bit fixed-point numbers.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Final

import numpy as np
import tenseal
from phe.paillier import EncryptedNumber, PaillierPublicKey
from tenseal import CKKSVector

from federation.ciphers.threshold.keys import decode_key

from .clock import Work
from .figures import TensealMode

SETTINGS: Final = "CKKS, ring 8192, primes of 60, 40 and 40 bits, scale 2^40"
_TRIES: Final = 4  # encryptions of `phe` in a lap


class Phe:
    """One float to a ciphertext under the modulus of our key."""

    def __init__(self, encoded_key: bytes) -> None:
        key = decode_key(encoded_key)
        self._public: Final = PaillierPublicKey(int(key.n))
        self._floats: Final = [0.25 + k / 7 for k in range(_TRIES)]
        self._encrypted: Final[list[EncryptedNumber]] = [self._public.encrypt(x) for x in self._floats]
        self.bytes_per_param: Final = 2 * key.width

    @property
    def works(self) -> dict[str, Work]:
        """`_TRIES` parameters encrypted, and as many added."""
        return {"phe_encrypt": self._encrypt, "phe_add": self._add}

    @staticmethod
    def each(took: float) -> float:
        """Seconds a parameter."""
        return took / _TRIES

    def _encrypt(self) -> None:
        for x in self._floats:
            self._public.encrypt(x)

    def _add(self) -> None:
        for one in self._encrypted:
            one + one


class CkksVector:
    """A vector under TenSEAL's CKKS, encrypted with the secret key or the public one."""

    def __init__(self, count: int, *, symmetric: bool) -> None:
        kinds = tenseal.ENCRYPTION_TYPE
        self._context: Final = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=kinds.SYMMETRIC if symmetric else kinds.ASYMMETRIC,
            n_threads=1,
        )
        self._context.global_scale = 2**40
        self._values: Final = np.random.default_rng(count).uniform(-1, 1, count)
        self._vector: Final = self._encrypt()
        self._stored: Final[bytes] = self._vector.serialize()
        self._total: Final = self._load()

    @property
    def works(self) -> dict[str, Work]:
        """Each step."""
        return {
            "encrypt": self._encrypt,
            "serialise": self._vector.serialize,
            "load": self._load,
            "add": self._add,
            "decrypt": self._vector.decrypt,
        }

    def mode(self, took: dict[str, float]) -> TensealMode:
        """The figures, from the seconds of each step."""
        summed = np.array((self._load() + self._load()).decrypt())
        return TensealMode(
            **{f"{step}_s": spent for step, spent in took.items()},
            bytes_per_param=len(self._stored) / self._values.size,
            largest_error=float(np.abs(summed - 2 * self._values).max()),
        )

    def _encrypt(self) -> CKKSVector:
        return tenseal.ckks_vector(self._context, self._values)

    def _load(self) -> CKKSVector:
        return tenseal.ckks_vector_from(self._context, self._stored)

    def _add(self) -> None:
        self._total.add_(self._vector)


class PlainFloats:
    """As many parameters that nobody encrypts."""

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(count)
        self._one: Final = random.standard_normal(count, np.float32)
        self._other: Final = random.standard_normal(count, np.float32)
        self._sum: Final = np.empty_like(self._one)

    @property
    def works(self) -> dict[str, Work]:
        """Addition, and SHA-256 over the same bytes."""
        add = partial(np.add, self._one, self._other, out=self._sum)
        return {"add": add, "sha256": lambda: hashlib.sha256(self._one.data)}
