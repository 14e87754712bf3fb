// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {IRoundLedger} from "./IRoundLedger.sol";
import {Judge} from "./Judge.sol";
import {Digest, RoundId} from "./Types.sol";

/// @title Where anyone proves that a posted total is unlawful
/// @notice Before the round is opened or after, by whoever holds the bytes. A proof is convicted by the ledger
/// that created this court; anything else reverts. What a verdict rests on is `IRoundLedger.caseOf` and leaves
/// under its roots; nothing that the caller says of sizes, members or the key counts.
contract Court is Judge {
    IRoundLedger private _ledger; // no immutable: the deployed code equals the audited build

    error NotInTotal(RoundId round, address member);

    constructor() {
        _ledger = IRoundLedger(msg.sender);
    }

    /// @notice Prove that a leaf of the posted total is not the sum of its members' leaves.
    function disputeSum(RoundId round, SumEvidence calldata evidence) external {
        IRoundLedger.Case memory c = _ledger.caseOf(round);
        requireWrongSum(_facts(round, c), c.total, c.roots, evidence);
        _convict(round, address(0), IRoundLedger.Fault.Sum, evidence.leaf);
    }

    /// @notice Prove that an admitted update has a leaf that breaks the suite's rules.
    function disputeLeaf(RoundId round, address member, LeafEvidence calldata evidence) external {
        IRoundLedger.Case memory c = _ledger.caseOf(round);
        requireMalformedLeaf(_facts(round, c), _rootOf(round, c, member), evidence);
        _convict(round, member, IRoundLedger.Fault.Leaf, evidence.leaf);
    }

    /// @notice Prove that an admitted update has a submission proof that cannot pass for its form alone.
    function disputeProof(RoundId round, address member, LeafEvidence calldata evidence) external {
        IRoundLedger.Case memory c = _ledger.caseOf(round);
        requireMalformedProof(_facts(round, c), _rootOf(round, c, member), evidence);
        _convict(round, member, IRoundLedger.Fault.Proof, evidence.leaf);
    }

    /// @notice Prove that an admitted update has another header than the one that is due.
    function disputeHeader(RoundId round, address member, HeaderEvidence calldata evidence) external {
        IRoundLedger.Case memory c = _ledger.caseOf(round);
        requireWrongUpdateHeader(_facts(round, c), _rootOf(round, c, member), member, evidence);
        _convict(round, member, IRoundLedger.Fault.Header, 0);
    }

    /// @notice Prove that the posted total has another header than the one that is due: another round or key,
    /// or other members or roots than the ledger holds.
    function disputeTotalHeader(RoundId round, HeaderEvidence calldata evidence) external {
        IRoundLedger.Case memory c = _ledger.caseOf(round);
        requireWrongTotalHeader(_facts(round, c), c.total, c.members, c.roots, evidence);
        _convict(round, address(0), IRoundLedger.Fault.Header, 0);
    }

    function _convict(RoundId round, address member, IRoundLedger.Fault fault, uint256 leaf) private {
        _ledger.convict(round, msg.sender, member, fault, uint64(leaf)); // below 2^33
    }

    function _facts(RoundId round, IRoundLedger.Case memory c) private pure returns (Facts memory) {
        return Facts(round, c.leaves.suite, c.leaves.ciphertexts, c.leaves.chunks, c.key, c.leaves.binding);
    }

    /// The committed root of a member whose update is in the total.
    function _rootOf(RoundId round, IRoundLedger.Case memory c, address member) private pure returns (Digest) {
        // Bounded: at most 32 members.
        for (uint256 i = 0; i < c.members.length; ++i) {
            if (c.members[i] == member) return c.roots[i];
        }
        revert NotInTotal(round, member);
    }
}
