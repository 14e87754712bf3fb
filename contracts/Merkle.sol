// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest} from "./IRoundLedger.sol";
import {IJudge} from "./IJudge.sol";

/// @title SHA-256, and RFC 6962 trees over it (PROTOCOL §2.1, §2.2)
library Merkle {
    uint256 private constant SHA_256 = 2; // a precompile

    /// SHA-256 of `length` bytes of memory.
    function hash(uint256 start, uint256 length) internal view returns (bytes32 digest) {
        bool answered;
        assembly ("memory-safe") {
            answered := staticcall(gas(), SHA_256, start, length, 0, 32)
            answered := and(answered, eq(returndatasize(), 32))
            digest := mload(0)
        }
        // A starved precompile leaves whatever stood there, which would be "another digest".
        if (!answered) revert IJudge.Starved();
    }

    function hash(bytes memory data) internal view returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := add(data, 32)
        }
        return hash(start, data.length);
    }

    /// SHA-256(0x00 ‖ leaf), the leaf being in memory behind a byte that is zero.
    function leafHash(uint256 start, uint256 length) internal view returns (bytes32) {
        return hash(start - 1, length + 1);
    }

    /// SHA-256(0x00 ‖ leaf).
    function leafHash(bytes calldata leaf) internal view returns (bytes32) {
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40) // used and left free: nothing of it is read again
            mstore8(free, 0)
            calldatacopy(add(free, 1), leaf.offset, leaf.length)
        }
        return hash(free, leaf.length + 1);
    }

    /// The leaf stands at `index` of the tree of `size` leaves under `root`, and its path ends before `next`.
    /// @dev The walk of RFC 9162 §2.1.3.2. Index and size fix a path's length, so paths need no lengths.
    /// @param start where in `paths` this one begins
    /// @param which whose it is, for the error
    function requireIn(
        Digest root,
        bytes32 leaf,
        uint256 index,
        uint256 size,
        bytes32[] calldata paths,
        uint256 start,
        uint256 which
    ) internal view returns (uint256 next) {
        bytes32 digest = leaf;
        next = start;
        unchecked {
            // Bounded: each pass halves `last`, which is below 2^34.
            for (uint256 last = size - 1; last != 0; (index, last) = (index >> 1, last >> 1)) {
                if (next >= paths.length) revert IJudge.NotInTree(which);
                bool isRight = index & 1 == 1 || index == last;
                digest = _parent(digest, _at(paths, next), isRight);
                ++next;
                while (isRight && index & 1 == 0) (index, last) = (index >> 1, last >> 1);
            }
        }
        if (digest != Digest.unwrap(root)) revert IJudge.NotInTree(which);
    }

    /// SHA-256(0x01 ‖ left ‖ right) of a node and its sibling.
    function _parent(bytes32 node, bytes32 sibling, bool isRight) private view returns (bytes32) {
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
            mstore8(free, 1)
            mstore(add(free, add(1, shl(5, isRight))), node)
            mstore(add(free, sub(33, shl(5, isRight))), sibling)
        }
        return hash(free, 65);
    }

    function _at(bytes32[] calldata paths, uint256 place) private pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            digest := calldataload(add(paths.offset, shl(5, place)))
        }
    }
}
