// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest, IRoundLedger, RoundId, StudyId, Timestamp} from "./IRoundLedger.sol";
import {Roster} from "./Roster.sol";

/// @title The law of rounds
/// @dev No immutables: the deployed code equals the audited build byte for byte. No Ether, no
/// external calls, no owner. Nothing here is upgradable.
contract RoundLedger is Roster {
    // A seat is a bit of a 32-bit map; the aggregator's seat lies beyond them.
    uint8 private constant MOST_MEMBERS = 32;
    uint8 private constant FEWEST_MEMBERS = 3; // threshold 2 needs 2 * 2 - 1
    uint8 private constant AGGREGATOR_SEAT = 33;

    bytes4 private constant CID_RAW = 0x01551220;
    bytes4 private constant CID_DAG_PB = 0x01701220;

    uint8 private constant TOO_FEW_COMMITS = 1;
    uint8 private constant TOO_FEW_REVEALS = 2;
    uint8 private constant NO_TOTAL = 3;
    uint8 private constant NO_SHARES = 4;
    uint8 private constant TOO_FEW_SHARES = 5;
    uint8 private constant NO_RESULT = 6;

    /// What members said after the round finished; bit k stands for seat k + 1.
    struct Aftermath {
        uint64 proposed; // 33 seats
        uint32 confirmed;
        uint32 objected;
    }

    /// A key that members proposed; bit k stands for seat k + 1.
    struct Candidate {
        uint32 proposed;
        uint32 accepted;
    }

    /// A key that all members accepted; it rules from round `first` to the one before the next epoch's.
    struct Epoch {
        uint32 first;
        Digest key;
    }

    /// @inheritdoc IRoundLedger
    uint32 public studies;

    mapping(StudyId study => Study) private _studies;
    mapping(StudyId study => mapping(address account => uint8 seat)) private _seats;
    mapping(StudyId study => mapping(Digest key => Candidate)) private _candidates;
    mapping(StudyId study => Epoch[]) private _laterEpochs; // the first one's key is in the study itself
    mapping(RoundId round => Round) private _rounds;
    mapping(RoundId round => Aftermath) private _aftermaths;
    mapping(RoundId round => mapping(address member => Digest root)) private _commitments;
    mapping(RoundId round => Digest root) private _totals;
    mapping(RoundId round => mapping(bytes32 result => bool)) private _results;

    constructor(Member[] memory founders) Roster(founders) {}

    // ------------------------------------------------------------------ studies

    /// @inheritdoc IRoundLedger
    function createStudy(StudyTerms calldata terms) external returns (StudyId study) {
        _requireOnRoster(msg.sender);
        _requireSoundTerms(terms);
        study = StudyId.wrap(++studies);
        _seatMembers(study, terms);
        Study storage s = _studies[study];
        s.windows = terms.windows;
        s.rounds = terms.rounds;
        s.seats = uint8(terms.members.length); // at most MOST_MEMBERS
        s.threshold = terms.threshold;
        s.minimum = terms.minimum;
        s.aggregator = terms.aggregator;
        s.digest = terms.digest;
        s.key = terms.key;
        emit StudyCreated(study, msg.sender, terms);
    }

    /// @inheritdoc IRoundLedger
    function acceptStudy(StudyId study, Digest digest) external {
        uint32 bit = _memberBit(study);
        Study storage s = _studies[study];
        if (s.accepted & bit != 0) revert AlreadyAccepted(study, msg.sender);
        if (digest != s.digest) revert WrongDigest(s.digest, digest);
        uint32 accepted = s.accepted | bit;
        s.accepted = accepted;
        // INVARIANT I4: no round opens before every member accepted the spec it can name by digest.
        if (accepted == _everyone(s.seats)) s.running = true;
        emit StudyAccepted(study, msg.sender, digest);
    }

    // ------------------------------------------------------------------ key epochs

    /// @inheritdoc IRoundLedger
    function proposeKey(StudyId study, Digest key, ContentId calldata cid) external {
        uint32 bit = _memberBit(study);
        Candidate storage c = _candidates[study][key];
        if (c.proposed & bit != 0) revert KeyAlreadyProposed(study, key, msg.sender);
        Study storage s = _studies[study];
        // INVARIANT I14: an adopted key never comes back: its shares are to be destroyed.
        if (key == s.key || c.accepted == _everyone(s.seats)) revert KeyAlreadyAdopted(study, key);
        _requireRunning(study, s);
        _requireSet(key);
        _requireCid(cid);
        c.proposed |= bit;
        emit KeyProposed(study, msg.sender, key, cid);
    }

    /// @inheritdoc IRoundLedger
    function acceptKey(StudyId study, Digest key) external {
        uint32 bit = _memberBit(study);
        Candidate storage c = _candidates[study][key];
        if (c.accepted & bit != 0) revert KeyAlreadyAccepted(study, key, msg.sender);
        Study storage s = _studies[study];
        if (key == s.key) revert KeyAlreadyAdopted(study, key);
        _requireRunning(study, s);
        if (c.proposed == 0) revert KeyNotProposed(study, key);
        uint32 accepted = c.accepted | bit;
        c.accepted = accepted;
        if (accepted == _everyone(s.seats)) {
            // INVARIANT I12: a commitment to the very next round may be on its way under the key before.
            // INVARIANT I13: `latest` never falls, so epochs are in order and no opened round's key changes.
            _laterEpochs[study].push(Epoch({first: s.latest + 2, key: key}));
        }
        emit KeyAccepted(study, msg.sender, key);
    }

    // ------------------------------------------------------------------ rounds

    /// @inheritdoc IRoundLedger
    function commitUpdate(RoundId round, Digest root, Digest baseModel) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _rounds[round];
        // INVARIANT I5: a commitment, once made, never changes.
        if (r.commits & bit != 0) revert AlreadyCommitted(round, msg.sender);
        if (r.status != Status.Open) {
            _open(round, r);
        } else if (_now() > r.commitCloses) {
            revert CommitWindowClosed(round, r.commitCloses, _now());
        }
        _requireSet(root);
        uint32 commits = r.commits | bit;
        r.commits = commits;
        _commitments[round][msg.sender] = root;
        if (commits == _everyone(r.seats)) {
            // Nobody is left to wait for. The map, not the clock, says that this window is over.
            r.commitCloses = _now();
            r.revealCloses = _now().later(_studies[_studyOf(round)].windows.reveal);
        }
        emit UpdateCommitted(round, msg.sender, root, baseModel);
    }

    /// @inheritdoc IRoundLedger
    function revealUpdate(RoundId round, ContentId calldata cid) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _opened(round);
        if (r.reveals & bit != 0) revert AlreadyRevealed(round, msg.sender);
        // INVARIANT I6: nothing is revealed while anybody may still commit.
        uint32 commits = r.commits;
        if (commits != _everyone(r.seats) && _now() <= r.commitCloses) {
            revert CommitWindowOpen(round, r.commitCloses, _now());
        }
        _requireMinimum(r.minimum, _count(commits));
        if (commits & bit == 0) revert NotCommitted(round, msg.sender);
        // Also refuses every round that went on without the caller: it ended, or has its total.
        if (_now() > r.revealCloses) revert RevealWindowClosed(round, r.revealCloses, _now());
        _requireCid(cid);
        uint32 reveals = r.reveals | bit;
        r.reveals = reveals;
        if (reveals == commits) r.revealCloses = _now();
        emit UpdateRevealed(round, msg.sender, cid);
    }

    /// @inheritdoc IRoundLedger
    function postTotal(RoundId round, address[] calldata members, Digest root, ContentId calldata cid)
        external
    {
        StudyId study = _studyOf(round);
        if (_seats[study][msg.sender] != AGGREGATOR_SEAT) revert NotAggregator(msg.sender);
        Round storage r = _opened(round);
        // INVARIANT I7: one total a round, for ever; a second one would open a second set.
        if (_hasTotal(r)) revert TotalAlreadyPosted(round);
        _requireGoingOn(round, r);
        if (r.reveals != r.commits && _now() <= r.revealCloses) {
            revert RevealWindowOpen(round, r.revealCloses, _now());
        }
        Timestamp combineCloses = r.revealCloses.later(_studies[study].windows.combine);
        if (_now() > combineCloses) revert CombineWindowClosed(round, combineCloses, _now());
        _requireMinimum(r.minimum, members.length);
        _requireRevealed(round, r.reveals, members);
        _requireSet(root);
        _requireCid(cid);
        r.openCloses = _now().later(_studies[study].windows.open);
        _totals[round] = root;
        emit TotalPosted(round, msg.sender, members, root, cid);
    }

    /// @inheritdoc IRoundLedger
    function postShare(RoundId round, Digest digest, ContentId calldata cid) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _opened(round);
        // INVARIANT I8: one share a member, of one total, never taken back.
        if (r.shares & bit != 0) revert AlreadyShared(round, msg.sender);
        if (!_hasTotal(r)) revert NoTotal(round);
        // A finished round takes shares without a deadline: else one false share and one true one would
        // let their senders finish with any result, and nobody could ever open the right one.
        if (r.status != Status.Finished && _now() > r.openCloses) revert OpenWindowClosed(round, r.openCloses, _now());
        _requireSet(digest);
        _requireCid(cid);
        r.shares |= bit;
        emit SharePosted(round, msg.sender, digest, cid);
    }

    /// @inheritdoc IRoundLedger
    function finish(
        RoundId round,
        Digest opening,
        Digest model,
        ContentId calldata openingCid,
        ContentId calldata modelCid
    ) external {
        uint64 bit = uint64(1) << (_seat(_studyOf(round)) - 1);
        Round storage r = _opened(round);
        Aftermath storage a = _aftermaths[round];
        // INVARIANT I9: one proposal a sender, one for each result and place of its content.
        if (a.proposed & bit != 0) revert AlreadyProposed(round, msg.sender);
        if (r.status != Status.Finished) _requireGoingOn(round, r);
        if (_count(r.shares) < r.threshold) revert TooFewShares(r.threshold, _count(r.shares));
        // With the places: a right result whose content nobody can fetch must not keep a usable one out.
        bytes32 result = keccak256(abi.encode(opening, model, openingCid, modelCid));
        if (_results[round][result]) revert SameResult(round);
        _requireSet(opening);
        _requireSet(model);
        _requireCid(openingCid);
        _requireCid(modelCid);
        a.proposed |= bit;
        _results[round][result] = true;
        if (r.status == Status.Open) {
            r.status = Status.Finished;
            ++_studies[_studyOf(round)].finished;
        }
        emit ResultProposed(round, msg.sender, opening, model, openingCid, modelCid);
    }

    /// @inheritdoc IRoundLedger
    function confirmModel(RoundId round, Digest model) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _opened(round);
        Aftermath storage a = _aftermaths[round];
        if (a.confirmed & bit != 0) revert AlreadyConfirmed(round, msg.sender);
        if (r.status != Status.Finished) revert NotFinished(round);
        _requireSet(model);
        a.confirmed |= bit;
        emit ModelConfirmed(round, msg.sender, model);
    }

    /// @inheritdoc IRoundLedger
    function objectToResult(
        RoundId round,
        Digest proposedOpening,
        Digest proposedModel,
        Digest foundOpening,
        Digest foundModel
    ) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _opened(round);
        Aftermath storage a = _aftermaths[round];
        if (a.objected & bit != 0) revert AlreadyObjected(round, msg.sender);
        if (r.status != Status.Finished) revert NotFinished(round);
        a.objected |= bit;
        emit ResultObjected(round, msg.sender, proposedOpening, proposedModel, foundOpening, foundModel);
    }

    /// @inheritdoc IRoundLedger
    function abandon(RoundId round, uint8 reason) external {
        _seat(_studyOf(round));
        Round storage r = _opened(round);
        _requireGoingOn(round, r);
        uint8 due = _reasonDue(round, r);
        if (due == 0) revert NotYet(round, _now());
        // INVARIANT I10: nobody ends a round for another reason than it believes.
        if (reason != due) revert WrongReason(due, reason);
        // INVARIANT I8: a round with any share counts as opened, and so can only be tainted.
        if (due < TOO_FEW_SHARES) {
            r.status = Status.Abandoned;
            emit RoundAbandoned(round, msg.sender, reason);
        } else {
            r.status = Status.Tainted;
            emit RoundTainted(round, msg.sender, reason);
        }
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRoundLedger
    function studyOf(StudyId study) external view returns (Study memory) {
        return _studies[study];
    }

    /// @inheritdoc IRoundLedger
    function keyOf(RoundId round) external view returns (Digest) {
        StudyId study = _studyOf(round);
        uint32 number = uint32(RoundId.unwrap(round));
        Epoch[] storage later = _laterEpochs[study];
        // From the newest back. Bounded by consent: an epoch is there only where every member wanted it.
        for (uint256 i = later.length; i != 0; --i) {
            if (later[i - 1].first <= number) return later[i - 1].key;
        }
        return _studies[study].key;
    }

    /// @inheritdoc IRoundLedger
    function seatOf(StudyId study, address account) external view returns (uint8) {
        return _seats[study][account];
    }

    /// @inheritdoc IRoundLedger
    function roundOf(RoundId round) external view returns (Round memory) {
        return _rounds[round];
    }

    /// @inheritdoc IRoundLedger
    function commitmentOf(RoundId round, address member) external view returns (Digest) {
        return _commitments[round][member];
    }

    /// @inheritdoc IRoundLedger
    function totalOf(RoundId round) external view returns (Digest) {
        return _totals[round];
    }

    // ------------------------------------------------------------------ creating a study

    function _requireSoundTerms(StudyTerms calldata terms) private view {
        uint256 n = terms.members.length;
        uint256 t = terms.threshold;
        // INVARIANT I3: t - 1 corrupt members never open; that they cannot stop the others either needs N >= 2t.
        _requireWithin("members", FEWEST_MEMBERS, MOST_MEMBERS, n);
        _requireWithin("threshold", 2, (n + 1) / 2, t);
        _requireWithin("minimum", t + 1, n, terms.minimum);
        _requireWithin("rounds", 1, type(uint32).max, terms.rounds);
        _requireWithin("windows.commit", 1, type(uint32).max, terms.windows.commit);
        _requireWithin("windows.reveal", 1, type(uint32).max, terms.windows.reveal);
        _requireWithin("windows.combine", 1, type(uint32).max, terms.windows.combine);
        _requireWithin("windows.open", 1, type(uint32).max, terms.windows.open);
        _requireRole(terms.aggregator, AGGREGATOR);
        _requireSet(terms.digest);
        _requireSet(terms.key);
        _requireCid(terms.cid);
    }

    function _seatMembers(StudyId study, StudyTerms calldata terms) private {
        address last = address(0);
        // INVARIANT I2: seats are distinct, since members increase and none of them is the aggregator.
        for (uint256 i = 0; i < terms.members.length; ++i) {
            address member = terms.members[i];
            if (member <= last) revert MembersNotIncreasing(i);
            _requireRole(member, INSTITUTION);
            _seats[study][member] = uint8(i + 1); // at most MOST_MEMBERS
            last = member;
        }
        _seats[study][terms.aggregator] = AGGREGATOR_SEAT;
    }

    function _requireRunning(StudyId study, Study storage s) private view {
        if (!s.running) revert NotAccepted(study);
        if (s.finished == s.rounds) revert StudyComplete(study);
    }

    // ------------------------------------------------------------------ the round's clock

    /// The study's next round is open, its windows running from now.
    function _open(RoundId round, Round storage r) private {
        StudyId study = _studyOf(round);
        Study storage s = _studies[study];
        if (!s.running) revert NotAccepted(study);
        uint32 latest = s.latest;
        // INVARIANT I11: a study has at most one open round, and numbers are never used again.
        bool going = _rounds[_roundOf(study, latest)].status == Status.Open;
        if (!going && s.finished == s.rounds) revert StudyComplete(study);
        RoundId expected = _roundOf(study, going ? latest : latest + 1);
        if (RoundId.unwrap(round) != RoundId.unwrap(expected)) revert WrongRound(expected, round);
        s.latest = latest + 1;
        Timestamp commitCloses = _now().later(s.windows.commit);
        r.status = Status.Open;
        r.seats = s.seats;
        r.threshold = s.threshold;
        r.minimum = s.minimum;
        r.commitCloses = commitCloses;
        r.revealCloses = commitCloses.later(s.windows.reveal);
    }

    /// Why the round may be ended now; zero while it may still go on.
    function _reasonDue(RoundId round, Round storage r) private view returns (uint8) {
        Windows storage windows = _studies[_studyOf(round)].windows;
        if (_hasTotal(r)) {
            if (_now() <= r.openCloses) return 0;
            if (r.shares == 0) return NO_SHARES;
            if (_count(r.shares) < r.threshold) return TOO_FEW_SHARES;
            return _now() > r.openCloses.later(windows.open) ? NO_RESULT : 0;
        }
        if (_now() > r.commitCloses && _count(r.commits) < r.minimum) return TOO_FEW_COMMITS;
        if (_now() > r.revealCloses && _count(r.reveals) < r.minimum) return TOO_FEW_REVEALS;
        return _now() > r.revealCloses.later(windows.combine) ? NO_TOTAL : 0;
    }

    function _opened(RoundId round) private view returns (Round storage r) {
        r = _rounds[round];
        if (r.status == Status.None) revert NotOpened(round);
    }

    function _requireGoingOn(RoundId round, Round storage r) private view {
        if (r.status != Status.Open) revert RoundEnded(round);
    }

    function _hasTotal(Round storage r) private view returns (bool) {
        return Timestamp.unwrap(r.openCloses) != 0;
    }

    function _now() private view returns (Timestamp) {
        return Timestamp.wrap(uint40(block.timestamp));
    }

    // ------------------------------------------------------------------ who and what

    function _seat(StudyId study) private view returns (uint8 seat) {
        seat = _seats[study][msg.sender];
        if (seat == 0) revert NotInStudy(study, msg.sender);
    }

    function _memberBit(StudyId study) private view returns (uint32) {
        uint8 seat = _seat(study);
        if (seat == AGGREGATOR_SEAT) revert NotInStudy(study, msg.sender);
        return uint32(1) << (seat - 1);
    }

    function _requireRevealed(RoundId round, uint32 reveals, address[] calldata members) private view {
        mapping(address => uint8) storage seats = _seats[_studyOf(round)];
        address last = address(0);
        // Bounded: every pass consumes one of at most 32 revealed members.
        for (uint256 i = 0; i < members.length; ++i) {
            address member = members[i];
            if (member <= last) revert MembersNotIncreasing(i);
            uint8 seat = seats[member];
            // The aggregator's bit lies beyond the 32 of the map, so it never counts as revealed.
            if (seat == 0 || reveals & (uint256(1) << (seat - 1)) == 0) revert NotRevealed(round, member);
            last = member;
        }
    }

    function _requireMinimum(uint256 minimum, uint256 found) private pure {
        if (found < minimum) revert TooFewContributors(minimum, found);
    }

    function _requireWithin(string memory term, uint256 least, uint256 most, uint256 found) private pure {
        if (found < least || found > most) revert BadTerms(term, least, most, found);
    }

    function _requireSet(Digest digest) private pure {
        if (digest.isZero()) revert ZeroDigest();
    }

    function _requireCid(ContentId calldata cid) private pure {
        if (cid.prefix != CID_RAW && cid.prefix != CID_DAG_PB) revert MalformedCid(cid.prefix);
    }

    function _studyOf(RoundId round) private pure returns (StudyId) {
        return StudyId.wrap(uint32(RoundId.unwrap(round) >> 32));
    }

    function _roundOf(StudyId study, uint32 number) private pure returns (RoundId) {
        return RoundId.wrap(uint64(StudyId.unwrap(study)) << 32 | number);
    }

    /// The map with every seat's bit set.
    function _everyone(uint8 seats) private pure returns (uint32) {
        return uint32((uint256(1) << seats) - 1);
    }

    /// How many bits of the map are set.
    function _count(uint32 map) private pure returns (uint256 found) {
        for (uint256 rest = map; rest != 0; rest &= rest - 1) ++found;
    }
}
