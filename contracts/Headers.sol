// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest, RoundId} from "./Types.sol";
import {IJudge} from "./IJudge.sol";

/// @title The headers that everybody expects, as far as the ledger knows them (PROTOCOL §2.3, §4.2)
/// @dev CBOR byte for byte: a field of constant length stands here with its key and head as on the wire.
library Headers {
    uint8 private constant PAILLIER = 1;

    uint256 private constant FIXED_BYTES = 320; // of all but a total's members, and what a last word writes over
    uint256 private constant MEMBER_BYTES = 56;

    uint256 private constant UPDATE = 1;
    uint256 private constant TOTAL = 2;
    uint256 private constant UNSIGNED = 0; // major types, for heads of variable length
    uint256 private constant ARRAY = 4;

    /// An update's header but for its last 32 bytes, the base model (key 10).
    function ofUpdate(IJudge.Facts memory facts, IJudge.HeaderEvidence calldata origin, address member)
        internal
        pure
        returns (bytes memory header)
    {
        header = _empty(0);
        _putPlace(header, facts, origin, UPDATE);
        _put(header, 2, 0x0554); // 5: 20 bytes
        _put(header, 20, uint160(member));
        _putKind(header, facts, origin);
        _put(header, 3, 0x0a5820); // 10: 32 bytes
    }

    /// A total's header up to its exclusions: through the key 13.
    function ofTotal(
        IJudge.Facts memory facts,
        IJudge.HeaderEvidence calldata origin,
        address[] memory members,
        Digest[] memory updates
    ) internal pure returns (bytes memory header) {
        header = _empty(members.length);
        _putPlace(header, facts, origin, TOTAL);
        _putKind(header, facts, origin);
        _put(header, 1, 0x0c); // 12: an array of [address, root]
        _putHead(header, ARRAY, members.length);
        // Bounded: the caller has counted at most 32.
        for (uint256 i = 0; i < members.length; ++i) {
            _put(header, 2, 0x8254);
            _put(header, 20, uint160(members[i]));
            _putDigest(header, 0x5820, updates[i]);
        }
        _put(header, 1, 0x0d); // 13: exclusions
    }

    /// Keys 0 … 4 of a map of 11.
    function _putPlace(
        bytes memory header,
        IJudge.Facts memory facts,
        IJudge.HeaderEvidence calldata origin,
        uint256 kind
    ) private pure {
        uint64 round = RoundId.unwrap(facts.round);
        _put(header, 4, 0xab000101); // 0: version 1; 1:
        _putHead(header, UNSIGNED, kind);
        _putDigest(header, 0x025820, origin.ledger);
        _put(header, 1, 0x03);
        _putHead(header, UNSIGNED, round >> 32);
        _put(header, 1, 0x04);
        _putHead(header, UNSIGNED, uint32(round));
    }

    /// Keys 6 … 9.
    function _putKind(bytes memory header, IJudge.Facts memory facts, IJudge.HeaderEvidence calldata origin)
        private
        pure
    {
        if (facts.suite == PAILLIER) _put(header, 10, 0x0668_7061696c6c696572); // 6: text of 8, "paillier"
        else _put(header, 8, 0x0666_687962726964); // 6: text of 6, "hybrid"
        _putDigest(header, 0x075820, facts.key);
        _putDigest(header, 0x085820, origin.shape);
        _put(header, 1, 0x09);
        _putHead(header, UNSIGNED, uint256(facts.ciphertexts) + facts.chunks);
    }

    /// The shortest head of an item with this argument, below 2^64.
    function _putHead(bytes memory header, uint256 major, uint256 argument) private pure {
        if (argument < 24) return _put(header, 1, major << 5 | argument);
        uint256 size = 1;
        uint256 info = 24;
        // Bounded: three passes at most.
        while (size < 8 && argument >> 8 * size != 0) (size, info) = (size * 2, info + 1);
        _put(header, 1, major << 5 | info);
        _put(header, size, argument);
    }

    /// Appends a key of up to three bytes with the head of 32 bytes, then these.
    function _putDigest(bytes memory header, uint256 head, Digest digest) private pure {
        _put(header, head < 1 << 16 ? 2 : 3, head);
        _put(header, 32, uint256(Digest.unwrap(digest)));
    }

    /// Appends `size` bytes: those of a big-endian integer.
    function _put(bytes memory header, uint256 size, uint256 value) private pure {
        assembly ("memory-safe") {
            let length := mload(header)
            mstore(add(add(header, 32), length), shl(sub(256, mul(8, size)), value))
            mstore(header, add(length, size))
        }
    }

    /// Nothing as yet, with room for a header of so many members.
    function _empty(uint256 members) private pure returns (bytes memory header) {
        assembly ("memory-safe") {
            header := mload(0x40)
            mstore(header, 0)
            mstore(0x40, add(header, add(FIXED_BYTES, mul(members, MEMBER_BYTES))))
        }
    }
}
