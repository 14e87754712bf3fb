// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Roster} from "./Roster.sol";
import {IRoundLedger} from "./IRoundLedger.sol";
import {StudyId, Timestamp} from "./Types.sol";

/// @title What aggregators stake on their totals
/// @dev One study's bonds are out of reach of every other's verdicts.
/// INVARIANT I16: the bonds add up to what was deposited and not withdrawn; slashing moves, and makes nothing.
abstract contract Bonds is IRoundLedger, Roster {
    mapping(StudyId study => mapping(address account => Bond)) private _bonds;

    /// @inheritdoc IRoundLedger
    function depositBond(StudyId study) external payable {
        _place(study);
        if (msg.value == 0) revert ZeroAmount();
        _bonds[study][msg.sender].amount += uint216(msg.value);
        emit BondDeposited(study, msg.sender, msg.value);
    }

    /// @inheritdoc IRoundLedger
    function withdrawBond(StudyId study, uint256 amount) external {
        Bond storage b = _bonds[study][msg.sender];
        Timestamp now_ = _now();
        if (now_ <= b.lockedUntil) revert BondLocked(b.lockedUntil, now_);
        if (amount == 0) revert ZeroAmount();
        if (b.amount < amount) revert BondTooSmall(amount, b.amount);
        b.amount -= uint216(amount);
        emit BondWithdrawn(study, msg.sender, amount);
        // Last, and all is written: whoever is called back finds its bond paid out.
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert PaymentFailed(msg.sender);
    }

    /// @inheritdoc IRoundLedger
    function bondOf(StudyId study, address account) external view returns (Bond memory) {
        return _bonds[study][account];
    }

    /// The caller's place, from 0, among the study's aggregators; reverts for everybody else.
    function _place(StudyId study) internal view virtual returns (uint8);

    /// The caller cannot withdraw before `until` has passed; raises `BondTooSmall`.
    function _lockBond(StudyId study, uint256 needed, Timestamp until) internal {
        Bond storage b = _bonds[study][msg.sender];
        if (b.amount < needed) revert BondTooSmall(needed, b.amount);
        if (until > b.lockedUntil) b.lockedUntil = until;
    }

    /// As much of `amount` as there is goes from the culprit to the beneficiary, who may take it at any time.
    function _slash(StudyId study, address culprit, uint256 amount, address beneficiary)
        internal
        returns (uint256 slashed)
    {
        mapping(address => Bond) storage bonds = _bonds[study];
        slashed = bonds[culprit].amount;
        if (slashed > amount) slashed = amount;
        bonds[culprit].amount -= uint216(slashed);
        bonds[beneficiary].amount += uint216(slashed);
    }
}
