"""Test-only keys over committed safe primes, so that no test waits for a prime; never use them.

The primes are `safe_prime(bits, SHA-256("tallystick test-only key " + i))` for i = 1, 2.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from gmpy2 import mpz

from federation.ciphers.ceremony import deal_from_primes
from federation.ciphers.suite import Dealing

_PRIMES: Final = {
    256: (
        "c5e0779dd28ee90b08664265975b9a1f",
        "d5736b756d095ab7c7d702125a3ff2cf",
    ),
    512: (
        "f9dbf02bbbe137a8978d9e18b7f2789bedb81da6ef299a57dc3924eabe2659a3",
        "cf743a98218d5f256bb2eafd766f24d995517bcd26b8b228d1fc3058d69188c7",
    ),
    2048: (
        "c388643a1cd662f93636b1c6afd7c36a4e3346117c855322b37d5caff987df21c305b5d455fe1261fc13a843b8841b7b"
        "08e54af8c98e620430c72eda752c29fc24bde89d75e22f3bd3fe3a6717307691193ba1a98285a562bd08bc8e595aa169"
        "e03c9bba07e50ef338060468d9c0065f275243b3b793cb85a16521c3cc899a83",
        "c27963b6ba83d8da4b76b3d4393ed7a61ca7032b1e637d1576f092229266ac2e67afac129ce8b874ae68f2978d9851d0"
        "6af6dc0aec701c2720fab77a6439c0b86b43dd90cb75d49d333aebb63d348f95b3c34b2821d6d9db6e61224b26c02514"
        "446e8de9e7a2037a8669d28dba4d1583793119579998ae27dbddb95dbf86c26f",
    ),
    3072: (
        "c1d0bf30f746a4e9a9c0c0b0f9b2f81b6d1f674ab5c1d095d58debd177cfb20a171dabb24e49d25b70b7916af386578c"
        "f4efd957a25ee90aae47bec09c28bb19643753289cad42d15c25689dbba8847e3c3d956885ea134e95c34c6f3b37839b"
        "f39c10bc9fa13094e56d18b896b74e887e8c43fe8e953fc80e3815ff7cbf5433f2c612305fd15951c6474b2b275b66b0"
        "501ed239bb413f41da81572907f87fc40e4b2f94e6ec2654fdc0e5d3067d7bdf87c0916c533b07add8958d9eef042cf3",
        "dbb941c790ff1dbfec590a8e549d9eb004ced6df2a5088803246191f1079bcbb30d88c14f0ad68d003e138f171c98636"
        "2a672bfd0d2dd12a835d4d62bd4a210f19ebc70c6732dad452878da1017ad27655860e6a34a0e5f1926eb7e2f1ef9627"
        "0c9ed4c4857031158ce7f25cbdda79a72c7d11ad7e4405bbb9f3043dd9aba941ac735d70e1d9edc2869cecbe96d19a40"
        "15809950e8ed8584fbbba53b8fbc56bf7fca31b9ec7f83f2a068037b84388ae7288cd691af761a1aa7ba4938c80968d7",
    ),
}


def primes(bits: int) -> tuple[mpz, mpz]:
    """p and q of the test-only key of `bits` bits: 256, 512, 2048 or 3072."""
    p, q = _PRIMES[bits]
    return mpz(p, 16), mpz(q, 16)


@cache
def dealt(bits: int, threshold: int = 2, members: int = 3) -> Dealing:
    """The test-only key of `bits` bits, any `threshold` of its `members` shares opening."""
    p, q = primes(bits)
    return deal_from_primes(p, q, threshold=threshold, members=members, seed=bytes(32))
