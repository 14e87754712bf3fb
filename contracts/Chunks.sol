// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {IJudge} from "./IJudge.sol";

/// @title Body leaves of the suite `hybrid`: 128 residues of 32 bits, little-endian (PROTOCOL §7.12.2)
/// @dev Eight residues at a time, each in a lane of 32 bits of one word. A residue has 30 bits, so neither a
/// sum of two nor what is added to compare with a prime ever reaches the next lane.
library Chunks {
    uint256 internal constant BYTES = 512;
    uint256 private constant CHUNKS_OF_TOWER = 32; // of one block, then those of the other tower
    uint256 private constant PRIME_0 = 1073692673;
    uint256 private constant PRIME_1 = 1073668097;

    uint256 private constant ONES = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant TOPS = 0x8000000080000000800000008000000080000000800000008000000080000000;
    uint256 private constant EVEN_BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant EVEN_PAIRS = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;

    /// The prime of body leaf `chunk`, counted from 0.
    function primeOf(uint256 chunk) internal pure returns (uint256) {
        return (chunk / CHUNKS_OF_TOWER) % 2 == 0 ? PRIME_0 : PRIME_1;
    }

    /// The sum of the members' chunks in memory, behind a word that is zero.
    /// @param chunks one after another, `BYTES` each
    function sum(bytes calldata chunks, uint256 prime) internal pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := add(mload(0x40), 32)
            mstore(sub(start, 32), 0)
            mstore(0x40, add(start, BYTES))
        }
        unchecked {
            uint256 gap = _gap(prime);
            for (uint256 offset = 0; offset < BYTES; offset += 32) {
                uint256 total = 0;
                // Bounded by the calldata: 32 members at most.
                for (uint256 from = offset; from < chunks.length; from += BYTES) {
                    uint256 lanes = _turned(_wordAt(chunks, from));
                    if (_exceeds(lanes, gap)) revert IJudge.MalformedLeaf(_firstMalformed(chunks, prime));
                    total += lanes;
                    total -= (((total + gap) >> 31) & ONES) * prime;
                }
                uint256 turned = _turned(total);
                assembly ("memory-safe") {
                    mstore(add(start, offset), turned)
                }
            }
        }
    }

    /// Whether every residue of one chunk is below the prime.
    function isReduced(bytes calldata chunk, uint256 prime) internal pure returns (bool) {
        uint256 gap = _gap(prime);
        for (uint256 offset = 0; offset < BYTES; offset += 32) {
            if (_exceeds(_turned(_wordAt(chunk, offset)), gap)) return false;
        }
        return true;
    }

    /// The first chunk with a residue that is not below the prime, of chunks of which one has.
    function _firstMalformed(bytes calldata chunks, uint256 prime) private pure returns (uint256 which) {
        while (isReduced(chunks[which * BYTES:(which + 1) * BYTES], prime)) ++which;
    }

    /// 2^31 - prime in every lane: added to a lane below 2^31, it sets the top bit where that is not below the prime.
    function _gap(uint256 prime) private pure returns (uint256) {
        return ONES * ((1 << 31) - prime);
    }

    function _exceeds(uint256 lanes, uint256 gap) private pure returns (bool) {
        unchecked {
            // Where a lane's own top bit is set, what the addition carries out of it changes nothing.
            return (lanes | (lanes + gap)) & TOPS != 0;
        }
    }

    /// The bytes of every lane in the other order.
    function _turned(uint256 word) private pure returns (uint256) {
        word = ((word & EVEN_BYTES) << 8) | ((word >> 8) & EVEN_BYTES);
        return ((word & EVEN_PAIRS) << 16) | ((word >> 16) & EVEN_PAIRS);
    }

    function _wordAt(bytes calldata data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, offset))
        }
    }
}
