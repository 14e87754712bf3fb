// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest} from "./Types.sol";
import {IJudge} from "./IJudge.sol";
import {Merkle} from "./Merkle.sol";

/// @title What ties a modulus in calldata to the key digest on the ledger (PROTOCOL §2.1, §7.2, §7.12.1)
library Keys {
    uint256 private constant SHORTEST_MODULUS = 16; // bytes
    uint256 private constant LONGEST_MODULUS = 512; // n² then has the 1,024 bytes that EIP-7823 allows

    /// The modulus is that of the round's key, and sound enough to compute with.
    function requireOf(IJudge.Facts memory facts, IJudge.KeyEvidence calldata key) internal view {
        uint256 width = key.modulus.length;
        bool unsound = width % 2 == 1 || width < SHORTEST_MODULUS || width > LONGEST_MODULUS
            || uint8(key.modulus[width - 1]) % 2 == 0;
        if (unsound) revert IJudge.UnsoundModulus(width);
        bytes memory parts = abi.encodePacked(uint64(width), key.modulus, uint64(32), key.rest);
        Digest found = Digest.wrap(Merkle.hash(abi.encodePacked("tallystick/1/key", hex"00", parts)));
        if (hasTwoDealers(key)) {
            (Digest one, Digest two) = key.second ? (key.other, found) : (found, key.other);
            found = labelled("tallystick/1/hybrid key", one, two);
        } else if (key.second) {
            // There is no second part of anything: what lies behind the first would be read in its place.
            revert IJudge.WrongDealer(0, true);
        }
        if (found != facts.key) revert IJudge.WrongKey(facts.key, found);
    }

    /// The modulus is that of the dealer under whose key the capsule leaf lies.
    function requireDealerOf(IJudge.Facts memory facts, uint256 leaf, IJudge.KeyEvidence calldata key)
        internal
        view
    {
        requireOf(facts, key);
        // INVARIANT J2: two dealers share the capsule half and half, and the index says whose a leaf is.
        bool second = hasTwoDealers(key) && leaf > facts.ciphertexts / 2;
        if (key.second != second) revert IJudge.WrongDealer(leaf, key.second);
    }

    function hasTwoDealers(IJudge.KeyEvidence calldata key) internal pure returns (bool) {
        return !key.other.isZero();
    }

    /// labelled(label; one, other) of §2.1; `label` with its prefix.
    function labelled(string memory label, Digest one, Digest other) internal view returns (Digest) {
        return Digest.wrap(Merkle.hash(abi.encodePacked(label, hex"00", uint64(32), one, uint64(32), other)));
    }
}
