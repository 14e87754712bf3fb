// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {IJudge} from "./IJudge.sol";

/// Where a number's words begin in memory, the most significant first.
type Number is uint256;

/// @notice Integers modulo n² for one odd n; all numbers of a ring have as many bytes of memory.
struct Ring {
    uint256 width; // bytes of n²: of a ciphertext
    uint256 size; // the same, rounded up to words
    Number base; // in the precompile's input: three lengths, base, exponent, modulus
    Number modulus;
}

/// @title Products modulo n², exact to the byte
/// @dev The modexp precompile squares; a product is 4ab = (a + b)² - (a - b)² with all three operations in the
/// ring, so there is no sign to carry along, and no base is longer than the modulus (1,024 bytes at
/// most, which is what EIP-7823 allows). The factors of 4 are divided out at the end.
library Residues {
    uint256 private constant MODEXP = 5; // a precompile

    /// The ring modulo `root`².
    function squared(bytes calldata root) internal view returns (Ring memory ring) {
        ring.width = 2 * root.length;
        ring.size = (ring.width + 31) & ~uint256(31);
        (ring.base, ring.modulus) = _input(ring.size, 2);
        // n² mod 2^(8·size) - 1 is n² itself, which is smaller.
        _fill(ring.modulus, ring.size);
        read(root, ring.base, ring.size);
        _power(ring, ring.modulus);
    }

    /// A number of this ring, as yet of any value, behind a word that is zero.
    function fresh(Ring memory ring) internal pure returns (Number a) {
        uint256 before = _allocate(32 + ring.size);
        assembly ("memory-safe") {
            mstore(before, 0)
            a := add(before, 32)
        }
    }

    /// `to` is the big-endian integer in `data`, which has at most `size` bytes.
    function read(bytes calldata data, Number to, uint256 size) internal pure {
        assembly ("memory-safe") {
            let start := sub(add(to, size), data.length)
            for { let word := to } lt(word, start) { word := add(word, 32) } { mstore(word, 0) }
            calldatacopy(start, data.offset, data.length)
        }
    }

    /// Whether 0 < a < n².
    function isReduced(Ring memory ring, Number a) internal pure returns (bool) {
        return !_isZero(a, ring.size) && _isLess(a, ring.modulus, ring.size);
    }

    /// a becomes 4ab; `spare` is lost.
    function multiply(Ring memory ring, Number a, Number b, Number spare) internal view {
        if (_add(ring.base, a, b, ring.size) || !_isLess(ring.base, ring.modulus, ring.size)) {
            _subtract(ring.base, ring.base, ring.modulus, ring.size);
        }
        _power(ring, spare);
        // Of a - b and b - a, whose squares are one, that which needs no modulus.
        bool less = _isLess(a, b, ring.size);
        _subtract(ring.base, less ? b : a, less ? a : b, ring.size);
        _power(ring, a);
        if (_subtract(a, spare, a, ring.size)) _add(a, a, ring.modulus, ring.size);
    }

    /// a becomes a / 2^bits modulo n², for 0 < bits < 64.
    /// @dev a + t·n² is a multiple of 2^bits for one t below it, and the quotient is below n² as a is.
    function halve(Ring memory ring, Number a, uint256 bits) internal pure {
        uint256 size = ring.size;
        Number modulus = ring.modulus;
        assembly ("memory-safe") {
            let odd := mload(sub(add(modulus, size), 32))
            let inverse := odd // to 3 bits; each step of Newton's doubles them
            for { let known := 3 } lt(known, 64) { known := mul(known, 2) } {
                inverse := mul(inverse, sub(2, mul(odd, inverse)))
            }
            let t := and(sub(0, mul(mload(sub(add(a, size), 32)), inverse)), sub(shl(bits, 1), 1))
            let carry := 0
            let below := 0
            for { let i := size } i {} {
                i := sub(i, 32)
                let word := mload(add(modulus, i))
                let low := mul(word, t)
                let wrapped := mulmod(word, t, not(0))
                let high := sub(sub(wrapped, low), lt(wrapped, low))
                let partly := add(mload(add(a, i)), low)
                high := add(high, lt(partly, low))
                let all := add(partly, carry)
                carry := add(high, lt(all, partly))
                if lt(i, sub(size, 32)) {
                    mstore(add(add(a, i), 32), or(shr(bits, below), shl(sub(256, bits), all)))
                }
                below := all
            }
            mstore(a, or(shr(bits, below), shl(sub(256, bits), carry)))
        }
    }

    /// Whether `divisor`, at most `value`'s length and above 1, divides `value`.
    function divides(bytes calldata divisor, bytes calldata value) internal view returns (bool) {
        uint256 size = (value.length + 31) & ~uint256(31);
        (Number base, Number modulus) = _input(size, 1);
        read(value, base, size);
        read(divisor, modulus, size);
        // The precompile answers 0 modulo 0 and modulo 1: neither is a factor that anyone shares.
        if (_isZero(modulus, size) || _isOne(modulus, size)) return false;
        Ring memory ring = Ring({width: size, size: size, base: base, modulus: modulus});
        _power(ring, base);
        return _isZero(base, size);
    }

    function isLess(bytes calldata a, bytes calldata b) internal pure returns (bool) {
        uint256 size = (b.length + 31) & ~uint256(31);
        Number left = Number.wrap(_allocate(size));
        Number right = Number.wrap(_allocate(size));
        read(a, left, size);
        read(b, right, size);
        return _isLess(left, right, size);
    }

    // ------------------------------------------------------------------ the precompile

    function _input(uint256 size, uint256 exponent)
        private
        pure
        returns (Number base, Number modulus)
    {
        uint256 start = _allocate(128 + 2 * size);
        assembly ("memory-safe") {
            mstore(start, size)
            mstore(add(start, 32), 32)
            mstore(add(start, 64), size)
            base := add(start, 96)
            mstore(add(base, size), exponent)
            modulus := add(add(base, size), 32)
        }
    }

    /// `to` is base^exponent modulo the modulus, as they stand in the input.
    function _power(Ring memory ring, Number to) private view {
        uint256 size = ring.size;
        Number base = ring.base;
        bool answered;
        assembly ("memory-safe") {
            answered := staticcall(gas(), MODEXP, sub(base, 96), add(128, mul(2, size)), to, size)
            answered := and(answered, eq(returndatasize(), size))
        }
        // A starved precompile leaves `to` as it was, which would be "another product".
        if (!answered) revert IJudge.Starved();
    }

    // ------------------------------------------------------------------ words

    function _add(Number to, Number a, Number b, uint256 size) private pure returns (bool carry) {
        assembly ("memory-safe") {
            for { let i := size } i {} {
                i := sub(i, 32)
                let x := mload(add(a, i))
                let partly := add(x, mload(add(b, i)))
                let all := add(partly, carry)
                carry := or(lt(partly, x), lt(all, partly))
                mstore(add(to, i), all)
            }
        }
    }

    function _subtract(Number to, Number a, Number b, uint256 size) private pure returns (bool borrow) {
        assembly ("memory-safe") {
            for { let i := size } i {} {
                i := sub(i, 32)
                let x := mload(add(a, i))
                let y := mload(add(b, i))
                let partly := sub(x, y)
                mstore(add(to, i), sub(partly, borrow))
                borrow := or(lt(x, y), lt(partly, borrow))
            }
        }
    }

    function _isLess(Number a, Number b, uint256 size) private pure returns (bool less) {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, size) { i := add(i, 32) } {
                let x := mload(add(a, i))
                let y := mload(add(b, i))
                if iszero(eq(x, y)) {
                    less := lt(x, y)
                    break
                }
            }
        }
    }

    function _isZero(Number a, uint256 size) private pure returns (bool zero) {
        assembly ("memory-safe") {
            zero := 1
            for { let i := 0 } and(zero, lt(i, size)) { i := add(i, 32) } { zero := iszero(mload(add(a, i))) }
        }
    }

    function _isOne(Number a, uint256 size) private pure returns (bool one) {
        one = _isZero(a, size - 32);
        assembly ("memory-safe") {
            one := and(one, eq(mload(sub(add(a, size), 32)), 1))
        }
    }

    function _fill(Number a, uint256 size) private pure {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, size) { i := add(i, 32) } { mstore(add(a, i), not(0)) }
        }
    }

    function _allocate(uint256 size) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := mload(0x40)
            mstore(0x40, add(start, size))
        }
    }
}
