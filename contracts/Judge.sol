// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest} from "./Types.sol";
import {Chunks} from "./Chunks.sol";
import {Headers} from "./Headers.sol";
import {IJudge} from "./IJudge.sol";
import {Keys} from "./Keys.sol";
import {Merkle} from "./Merkle.sol";
import {Number, Residues, Ring} from "./Residues.sol";

/// @title What evidence proves
/// @dev Each verdict first places the bytes under the roots it was given, then recomputes what is
/// lawful, and reverts where both agree.
abstract contract Judge is IJudge {
    using Residues for Ring;

    uint8 private constant PAILLIER = 1;
    uint8 private constant HYBRID = 2;

    uint256 private constant FEWEST_MEMBERS = 3;
    uint256 private constant MOST_MEMBERS = 32;
    uint256 private constant MOST_OF_HEADER = 4096; // bytes

    // Of a proof: d in two widths of n, z in one, ζ in half of one and 37 bytes (PROTOCOL §7.6).
    uint256 private constant FIXED_BYTES_OF_ZETA = 37;
    uint8 private constant MOST_OF_ZETA = 1; // first byte: 289 bits above whole bytes leave one bit of it

    /// @inheritdoc IJudge
    function requireWrongSum(
        Facts memory facts,
        Digest total,
        Digest[] memory updates,
        SumEvidence calldata evidence
    ) public view {
        _requireJudged(facts);
        _requireCount(FEWEST_MEMBERS, updates.length);
        // INVARIANT J1: headers and submission proofs are never summed.
        _requireLeaf(1, _lastLeaf(facts), evidence.leaf);
        bytes32 right = _isCapsule(facts, evidence.leaf)
            ? _product(facts, evidence, updates.length)
            : _sum(facts, evidence, updates.length);
        uint256 width = evidence.leaves.length / updates.length;
        uint256 read = 0;
        // Bounded by MOST_MEMBERS.
        for (uint256 i = 0; i < updates.length; ++i) {
            bytes32 leaf = Merkle.leafHash(_part(evidence.leaves, i * width, width));
            read = Merkle.requireIn(updates[i], leaf, evidence.leaf, _sizeOfUpdate(facts), evidence.paths, read, i);
        }
        bytes32 found = Digest.unwrap(evidence.found);
        uint256 size = _sizeOfTotal(facts);
        read = Merkle.requireIn(total, found, evidence.leaf, size, evidence.paths, read, updates.length);
        if (read != evidence.paths.length) revert PathsTooLong(read, evidence.paths.length);
        if (found == right) revert SumIsRight();
    }

    /// @inheritdoc IJudge
    function requireMalformedLeaf(Facts memory facts, Digest update, LeafEvidence calldata evidence)
        public
        view
    {
        _requireJudged(facts);
        _requireLeaf(1, _lastLeaf(facts), evidence.leaf);
        _requirePlaced(update, evidence.data, evidence.leaf, _sizeOfUpdate(facts), evidence.path);
        if (!_isCapsule(facts, evidence.leaf)) {
            uint256 prime = Chunks.primeOf(evidence.leaf - facts.ciphertexts - 1);
            bool sound = evidence.data.length == Chunks.BYTES && Chunks.isReduced(evidence.data, prime);
            if (sound) revert LeafIsSound();
            return;
        }
        Keys.requireDealerOf(facts, evidence.leaf, evidence.key);
        if (_isUnit(evidence.key, evidence.data, evidence.witness)) revert LeafIsSound();
    }

    /// @inheritdoc IJudge
    function requireMalformedProof(Facts memory facts, Digest update, LeafEvidence calldata evidence)
        public
        view
    {
        _requireJudged(facts);
        uint256 leaf = _lastLeaf(facts) + 1;
        _requireLeaf(leaf, leaf, evidence.leaf);
        _requirePlaced(update, evidence.data, leaf, _sizeOfUpdate(facts), evidence.path);
        Keys.requireOf(facts, evidence.key);
        uint256 width = evidence.key.modulus.length;
        uint256 ofOne = 3 * width + width / 2 + FIXED_BYTES_OF_ZETA;
        bool two = Keys.hasTwoDealers(evidence.key);
        if (evidence.data.length != (two ? 2 * ofOne : ofOne)) return;
        bytes calldata proof = _part(evidence.data, evidence.key.second ? ofOne : 0, ofOne);
        if (uint8(proof[3 * width]) > MOST_OF_ZETA) return;
        if (!Residues.isLess(_part(proof, 2 * width, width), evidence.key.modulus)) return;
        if (_isUnit(evidence.key, _part(proof, 0, 2 * width), evidence.witness)) revert ProofIsSound();
    }

    /// @inheritdoc IJudge
    function requireWrongUpdateHeader(
        Facts memory facts,
        Digest update,
        address member,
        HeaderEvidence calldata evidence
    ) public view {
        _requireOrigin(facts, evidence);
        _requirePlaced(update, evidence.header, 0, _sizeOfUpdate(facts), evidence.path);
        bytes memory expected = Headers.ofUpdate(facts, evidence, member);
        if (evidence.header.length != expected.length + 32) return;
        if (_beginsWith(evidence.header, expected)) revert HeaderIsRight();
    }

    /// @inheritdoc IJudge
    function requireWrongTotalHeader(
        Facts memory facts,
        Digest total,
        address[] memory members,
        Digest[] memory updates,
        HeaderEvidence calldata evidence
    ) public view {
        _requireOrigin(facts, evidence);
        if (updates.length != members.length) revert WrongCount(members.length, members.length, updates.length);
        _requireCount(1, updates.length);
        _requirePlaced(total, evidence.header, 0, _sizeOfTotal(facts), evidence.path);
        bytes memory expected = Headers.ofTotal(facts, evidence, members, updates);
        // The exclusions take at least one byte, be there none.
        if (evidence.header.length <= expected.length || evidence.header.length > MOST_OF_HEADER) return;
        if (_beginsWith(evidence.header, expected)) revert HeaderIsRight();
    }

    // ------------------------------------------------------------------ sums

    /// The leaf hash of the one right product of the members' ciphertexts.
    function _product(Facts memory facts, SumEvidence calldata evidence, uint256 members)
        private
        view
        returns (bytes32)
    {
        Keys.requireDealerOf(facts, evidence.leaf, evidence.key);
        Ring memory ring = Residues.squared(evidence.key.modulus);
        uint256 width = ring.width;
        _requireLength(members * width, evidence.leaves.length);
        Number product = ring.fresh();
        Number factor = ring.fresh();
        Number spare = ring.fresh();
        // Bounded by MOST_MEMBERS.
        for (uint256 i = 0; i < members; ++i) {
            Number next = i == 0 ? product : factor;
            Residues.read(_part(evidence.leaves, i * width, width), next, ring.size);
            if (!ring.isReduced(next)) revert MalformedLeaf(i);
            if (i != 0) ring.multiply(product, factor, spare);
        }
        ring.halve(product, 2 * (members - 1));
        return Merkle.leafHash(Number.unwrap(product) + ring.size - width, width);
    }

    /// The leaf hash of the one right sum of the members' chunks.
    function _sum(Facts memory facts, SumEvidence calldata evidence, uint256 members)
        private
        view
        returns (bytes32)
    {
        _requireLength(members * Chunks.BYTES, evidence.leaves.length);
        uint256 start = Chunks.sum(evidence.leaves, Chunks.primeOf(evidence.leaf - facts.ciphertexts - 1));
        return Merkle.leafHash(start, Chunks.BYTES);
    }

    /// Whether `value` is a canonical unit modulo n², as far as `witness` shows; the key has been checked.
    function _isUnit(KeyEvidence calldata key, bytes calldata value, bytes calldata witness)
        private
        view
        returns (bool)
    {
        if (value.length != 2 * key.modulus.length) return false;
        Ring memory ring = Residues.squared(key.modulus);
        Number number = ring.fresh();
        Residues.read(value, number, ring.size);
        if (!ring.isReduced(number)) return false;
        if (witness.length > key.modulus.length) return true;
        return !(Residues.divides(witness, key.modulus) && Residues.divides(witness, value));
    }

    // ------------------------------------------------------------------ places

    function _requireOrigin(Facts memory facts, HeaderEvidence calldata evidence) private view {
        _requireJudged(facts);
        Digest found = Keys.labelled("tallystick/1/binding", evidence.ledger, evidence.shape);
        if (found != facts.binding) revert WrongBinding(facts.binding, found);
    }

    /// INVARIANT J3: what is judged stands under a root that its author posted, at its place in a tree of
    /// the one lawful size.
    function _requirePlaced(Digest root, bytes calldata leaf, uint256 index, uint256 size, bytes32[] calldata path)
        private
        view
    {
        uint256 end = Merkle.requireIn(root, Merkle.leafHash(leaf), index, size, path, 0, 0);
        if (end != path.length) revert PathsTooLong(end, path.length);
    }

    function _requireJudged(Facts memory facts) private pure {
        if (facts.suite != PAILLIER && facts.suite != HYBRID) revert NotJudged(facts.suite);
    }

    function _requireCount(uint256 least, uint256 found) private pure {
        if (found < least || found > MOST_MEMBERS) revert WrongCount(least, MOST_MEMBERS, found);
    }

    function _requireLeaf(uint256 first, uint256 last, uint256 found) private pure {
        if (found < first || found > last) revert NoSuchLeaf(first, last, found);
    }

    function _requireLength(uint256 expected, uint256 found) private pure {
        if (found != expected) revert WrongLength(expected, found);
    }

    function _isCapsule(Facts memory facts, uint256 leaf) private pure returns (bool) {
        return leaf <= facts.ciphertexts;
    }

    /// The index of the last capsule or body leaf.
    function _lastLeaf(Facts memory facts) private pure returns (uint256) {
        return uint256(facts.ciphertexts) + facts.chunks;
    }

    /// Header, leaves and submission proof.
    function _sizeOfUpdate(Facts memory facts) private pure returns (uint256) {
        return _lastLeaf(facts) + 2;
    }

    /// Header and leaves.
    function _sizeOfTotal(Facts memory facts) private pure returns (uint256) {
        return _lastLeaf(facts) + 1;
    }

    /// `size` bytes of `data`, which the caller knows to be there: lengths are checked once, as a whole.
    function _part(bytes calldata data, uint256 start, uint256 size) private pure returns (bytes calldata part) {
        assembly ("memory-safe") {
            part.offset := add(data.offset, start)
            part.length := size
        }
    }

    function _beginsWith(bytes calldata data, bytes memory start) private pure returns (bool) {
        return keccak256(data[:start.length]) == keccak256(start);
    }
}
