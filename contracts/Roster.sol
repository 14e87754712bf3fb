// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {IRoundLedger} from "./IRoundLedger.sol";
import {Digest, Timestamp} from "./Types.sol";

/// @title Who belongs to the consortium, by its institutions' votes
/// @dev There is no owner and no admin key: k of n institutions change the roster, one motion at a time.
/// Who voted is a bit of a 256-bit map; a bit is never given to a second institution.
abstract contract Roster is IRoundLedger {
    uint8 internal constant INSTITUTION = 1;
    uint8 internal constant AGGREGATOR = 2;
    uint8 internal constant AUDITOR = 3;

    uint256 private constant MOST_VOTERS = 256; // ever: bits of a map
    uint32 private constant LONGEST_MOTION = 90 days;

    /// What was voted on one motion.
    struct Ballot {
        uint256 votes;
        bool carried;
    }

    /// @inheritdoc IRoundLedger
    Succession public successor;

    uint256 private _voters; // bits given out
    uint256 private _active; // bits of institutions in good standing
    uint256 private _askedQuorum;
    mapping(address account => Member) private _roster;
    mapping(address account => Standing) private _standings;
    mapping(bytes32 motion => Ballot) private _ballots;

    /// @param founders bounded by what one creation may carry beside the code (EIP-3860): some 70
    constructor(Member[] memory founders) {
        for (uint256 i = 0; i < founders.length; ++i) {
            Member memory member = founders[i];
            _join(member);
            emit MemberJoined(member.account, member.role, member.sealingKey, member.name);
        }
    }

    /// @inheritdoc IRoundLedger
    function memberOf(address account) external view returns (Member memory) {
        return _roster[account];
    }

    /// @inheritdoc IRoundLedger
    function standingOf(address account) external view returns (Standing memory) {
        return _standings[account];
    }

    /// @inheritdoc IRoundLedger
    function quorum() public view returns (uint256) {
        uint256 n = _tally(_active);
        uint256 most = _askedQuorum > n / 2 ? _askedQuorum : n / 2 + 1;
        return most < n ? most : n;
    }

    /// @inheritdoc IRoundLedger
    function vote(Motion calldata motion) external {
        Standing storage s = _standings[msg.sender];
        if (s.state != State.Active || _roster[msg.sender].role != INSTITUTION) revert NoVote(msg.sender);
        bytes32 id = keccak256(abi.encode(motion));
        Ballot storage b = _ballots[id];
        uint256 bit = uint256(1) << s.voter;
        if (b.votes & bit != 0) revert AlreadyVoted(msg.sender);
        if (b.carried) revert MotionCarried();
        Timestamp now_ = _now();
        if (now_ > motion.expires) revert MotionExpired(motion.expires, now_);
        if (motion.expires > now_.later(LONGEST_MOTION)) revert MotionTooLong(now_.later(LONGEST_MOTION), motion.expires);
        // Whoever reads the vote reads a line of the roster, or none.
        if (motion.member.role > AUDITOR) revert UnknownRole(motion.member.role);
        b.votes |= bit;
        emit Voted(id, msg.sender, motion);
        // INVARIANT I17: only votes of institutions that are in good standing now count.
        if (_tally(b.votes & _active) >= quorum()) {
            b.carried = true;
            _carry(motion);
        }
    }

    /// A motion that cannot be carried refuses the vote that would carry it.
    function _carry(Motion calldata motion) private {
        if (motion.kind == MotionKind.Admit) {
            _join(motion.member);
        } else if (motion.kind == MotionKind.SetQuorum) {
            if (motion.value == 0 || motion.value > MOST_VOTERS) {
                revert BadTerms("quorum", 1, MOST_VOTERS, motion.value);
            }
            _askedQuorum = motion.value;
        } else if (motion.kind == MotionKind.Supersede) {
            if (successor.ledger != address(0)) revert Superseded(successor.ledger);
            if (motion.subject == address(0)) revert ZeroAddress();
            if (motion.code.isZero()) revert ZeroDigest();
            successor = Succession(motion.subject, motion.code);
        } else {
            _change(motion);
        }
    }

    /// What happens to a member.
    function _change(Motion calldata motion) private {
        address subject = motion.subject;
        Standing storage s = _standings[subject];
        State needed = motion.kind == MotionKind.Reinstate ? State.Suspended : State.Active;
        bool away = s.state == State.Suspended && motion.kind != MotionKind.Suspend;
        if (s.state != needed && !away) revert WrongState(subject, s.state);
        if (motion.kind == MotionKind.Replace) {
            _replace(subject, s, motion.member);
            return;
        }
        s.state = motion.kind == MotionKind.Reinstate
            ? State.Active
            : motion.kind == MotionKind.Suspend ? State.Suspended : State.Left;
        _setActive(subject, s);
    }

    /// One organisation's keys are others from now on: its vote and its role go with it.
    function _replace(address subject, Standing storage s, Member calldata heir) private {
        uint8 role = _roster[subject].role;
        if (heir.role != role) revert WrongRole(heir.account, role, heir.role);
        _enter(heir);
        _standings[heir.account] = Standing(State.Active, s.voter, address(0));
        s.state = State.Replaced;
        s.heir = heir.account;
        _setActive(heir.account, _standings[heir.account]);
    }

    function _join(Member memory member) private {
        _enter(member);
        Standing storage s = _standings[member.account];
        s.state = State.Active;
        if (member.role == INSTITUTION) {
            if (_voters == MOST_VOTERS) revert BadTerms("voters", 0, MOST_VOTERS, _voters + 1);
            s.voter = uint8(_voters++); // below MOST_VOTERS
        }
        _setActive(member.account, s);
    }

    function _enter(Member memory member) private {
        // INVARIANT I1: one line an account, and so one role: an aggregator never holds a member's vote.
        if (member.account == address(0)) revert ZeroAddress();
        if (member.role < INSTITUTION || member.role > AUDITOR) revert UnknownRole(member.role);
        if (_roster[member.account].role != 0) revert DuplicateMember(member.account);
        _roster[member.account] = member;
    }

    function _setActive(address account, Standing storage s) private {
        if (_roster[account].role != INSTITUTION) return;
        uint256 bit = uint256(1) << s.voter;
        _active = s.state == State.Active ? _active | bit : _active & ~bit;
    }

    function _standing(address account) internal view returns (Standing storage) {
        return _standings[account];
    }

    function _requireRole(address account, uint8 expected) internal view {
        uint8 found = _standings[account].state == State.Active ? _roster[account].role : 0;
        if (found != expected) revert WrongRole(account, expected, found);
    }

    function _requireOnRoster(address account) internal view {
        if (_standings[account].state != State.Active) revert NotOnRoster(account);
    }

    function _now() internal view returns (Timestamp) {
        return Timestamp.wrap(uint40(block.timestamp));
    }

    /// How many bits of the map are set.
    function _tally(uint256 map) private pure returns (uint256 found) {
        for (uint256 rest = map; rest != 0; rest &= rest - 1) ++found;
    }
}
