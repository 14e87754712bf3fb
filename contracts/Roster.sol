// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {IRoundLedger} from "./IRoundLedger.sol";

/// @title Who belongs to the consortium
/// @dev Fixed by the founders; there is no owner and no admin key.
abstract contract Roster is IRoundLedger {
    uint8 internal constant INSTITUTION = 1;
    uint8 internal constant AGGREGATOR = 2;
    uint8 internal constant AUDITOR = 3;

    mapping(address account => Member) private _roster;

    /// @param founders bounded only by what one block holds
    constructor(Member[] memory founders) {
        for (uint256 i = 0; i < founders.length; ++i) {
            _join(founders[i]);
        }
    }

    /// @inheritdoc IRoundLedger
    function memberOf(address account) external view returns (Member memory) {
        return _roster[account];
    }

    function _join(Member memory member) private {
        // INVARIANT I1: one line an account, and so one role: an aggregator never holds a member's vote.
        if (member.account == address(0)) revert ZeroAddress();
        if (member.role < INSTITUTION || member.role > AUDITOR) revert UnknownRole(member.role);
        if (_roster[member.account].role != 0) revert DuplicateMember(member.account);
        _roster[member.account] = member;
        emit MemberJoined(member.account, member.role, member.sealingKey, member.name);
    }

    function _requireRole(address account, uint8 expected) internal view {
        uint8 found = _roster[account].role;
        if (found != expected) revert WrongRole(account, expected, found);
    }

    function _requireOnRoster(address account) internal view {
        if (_roster[account].role == 0) revert NotOnRoster(account);
    }
}
