// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest, RoundId} from "./Types.sol";

/// @title Evidence that posted bytes are unlawful
/// @notice Every function reverts unless the fault is proven: that a call returned is the verdict.
/// @dev No storage, no Ether, no owner: a verdict follows from the arguments alone. How many leaves a tree has
/// comes from `Facts` and never from whoever disputes, since a path alone does not fix it (PROTOCOL §2.2).
/// A precompile that ran out of gas ends the call (`Starved`) and is never read as "not equal".
interface IJudge {
    /// @notice What the ledger knows of a round's payloads; nothing in it comes from whoever disputes.
    struct Facts {
        RoundId round;
        uint8 suite; // 1 paillier, 2 hybrid; nothing else is judged
        uint32 ciphertexts; // capsule leaves of an update, of all dealers together, and of a total
        uint32 chunks; // body leaves of 512 bytes; 0 in paillier
        Digest key; // of the round's key (§7.2); of two dealers labelled("hybrid key"; kd_0, kd_1)
        Digest binding; // labelled("binding"; ledger id, shape digest)
    }

    /// @notice One dealer's modulus, with what ties it to `Facts.key`; empty where a body leaf is disputed.
    struct KeyEvidence {
        bytes modulus; // as many bytes as the key has
        Digest rest; // SHA-256 of the key's encoding
        Digest other; // the other dealer's key digest; zero if there is one dealer
        bool second; // the modulus is the second dealer's
    }

    /// @notice One leaf of every member of a total, and what the total holds in its place.
    struct SumEvidence {
        uint256 leaf; // in the tree: 1 … ciphertexts + chunks
        Digest found; // SHA-256(0x00 ‖ leaf) in the total: a leaf of any bytes, even withheld ones, in 32
        KeyEvidence key; // the dealer's under whose key that leaf lies
        bytes leaves; // the members', one after another
        bytes32[] paths; // audit paths: the members', one after another, then the total's
    }

    /// @notice One leaf of an update, and why it is unsound.
    struct LeafEvidence {
        uint256 leaf; // in the tree
        KeyEvidence key;
        bytes data; // the leaf
        bytes32[] path;
        bytes witness; // a factor above 1 of modulus and value; empty where none is needed
    }

    /// @notice Leaf 0 of a payload, and what the expected one is made of.
    struct HeaderEvidence {
        Digest ledger; // ledger id
        Digest shape; // shape digest of the model
        bytes header;
        bytes32[] path;
    }

    // ------------------------------------------------------------------ errors: the evidence

    error NotJudged(uint8 suite);
    error WrongCount(uint256 least, uint256 most, uint256 found);
    error NoSuchLeaf(uint256 first, uint256 last, uint256 found);
    error WrongKey(Digest expected, Digest found);
    error WrongDealer(uint256 leaf, bool second);
    error UnsoundModulus(uint256 bytesOfModulus);
    error WrongBinding(Digest expected, Digest found);
    error WrongLength(uint256 expected, uint256 found);
    /// @param which the member's place in the list, from 0; behind the last one it is the total
    error NotInTree(uint256 which);
    error PathsTooLong(uint256 expected, uint256 found);
    /// @param which the member's place in the list, from 0: its leaf is a case for `requireMalformedLeaf`
    error MalformedLeaf(uint256 which);
    error Starved();

    // ------------------------------------------------------------------ errors: no fault

    error SumIsRight();
    error LeafIsSound();
    error HeaderIsRight();
    error ProofIsSound();

    // ------------------------------------------------------------------ verdicts

    /// @notice Proven: a leaf of the total is not the sum of the members' leaves (§7.7, §7.12.5).
    /// @dev The one canonical sum is computed here: a product modulo n², or residues added modulo the leaf's
    /// prime. Whether the members' values are units is not asked; other faults in them are `MalformedLeaf`.
    /// @param total root of the posted total
    /// @param updates roots of its members' updates in its own order, 3 … 32
    function requireWrongSum(
        Facts memory facts,
        Digest total,
        Digest[] memory updates,
        SumEvidence calldata evidence
    ) external view;

    /// @notice Proven: a capsule or body leaf of an update breaks a rule of its suite (§7.5, §7.12.2).
    /// @dev Another width; a ciphertext that is zero, n² or more, or shares the factor `witness` with n; a
    /// residue not below its prime.
    function requireMalformedLeaf(Facts memory facts, Digest update, LeafEvidence calldata evidence)
        external
        view;

    /// @notice Proven: an update's submission proof cannot pass, for its form alone (§7.6).
    /// @dev Another length; z >= n; ζ of too many bits; d that is zero, n² or more, or shares the factor `witness`
    /// with n. The proof's equation is *not* judged on chain: a proof whose form is right and that proves
    /// nothing is `ProofIsSound` here, and is refused by every party that examines the update.
    function requireMalformedProof(Facts memory facts, Digest update, LeafEvidence calldata evidence)
        external
        view;

    /// @notice Proven: leaf 0 of `member`'s update is not the one header that everybody expects (§4.2).
    /// @dev The base model's 32 bytes are not judged: the contract stores no base model.
    function requireWrongUpdateHeader(
        Facts memory facts,
        Digest update,
        address member,
        HeaderEvidence calldata evidence
    ) external view;

    /// @notice Proven: leaf 0 of the total does not begin as everybody expects (§4.2).
    /// @dev Judged up to the exclusions, which depend on what others can fetch (§5.2).
    /// @param members of the total, as posted, at most 32
    /// @param updates roots of their updates, in the same order
    function requireWrongTotalHeader(
        Facts memory facts,
        Digest total,
        address[] memory members,
        Digest[] memory updates,
        HeaderEvidence calldata evidence
    ) external view;
}
