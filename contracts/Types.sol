// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

/// A study: 1, 2, 3 … on one contract.
type StudyId is uint32;

/// One round of one study: `study << 32 | number`, where number counts from 1 and never repeats.
type RoundId is uint64;

/// 32 bytes of SHA-256.
type Digest is bytes32;

/// Seconds since 1970, as the block says.
type Timestamp is uint40;

using {isAfter as >, isAtOrBefore as <=, later, laterBy} for Timestamp global;
using {isDifferent as !=, isEqual as ==, isZero} for Digest global;

function isAfter(Timestamp a, Timestamp b) pure returns (bool) {
    return Timestamp.unwrap(a) > Timestamp.unwrap(b);
}

function isAtOrBefore(Timestamp a, Timestamp b) pure returns (bool) {
    return Timestamp.unwrap(a) <= Timestamp.unwrap(b);
}

/// @param duration in seconds
function later(Timestamp a, uint32 duration) pure returns (Timestamp) {
    return Timestamp.wrap(Timestamp.unwrap(a) + duration);
}

/// @param duration in seconds
function laterBy(Timestamp a, uint256 times, uint32 duration) pure returns (Timestamp) {
    return Timestamp.wrap(uint40(Timestamp.unwrap(a) + times * duration));
}

function isDifferent(Digest a, Digest b) pure returns (bool) {
    return Digest.unwrap(a) != Digest.unwrap(b);
}

function isEqual(Digest a, Digest b) pure returns (bool) {
    return Digest.unwrap(a) == Digest.unwrap(b);
}

function isZero(Digest a) pure returns (bool) {
    return Digest.unwrap(a) == 0;
}
