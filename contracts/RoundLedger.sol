// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Bonds} from "./Bonds.sol";
import {Court} from "./Court.sol";
import {IRoundLedger} from "./IRoundLedger.sol";
import {Roster} from "./Roster.sol";
import {Digest, RoundId, StudyId, Timestamp} from "./Types.sol";

/// @title The law of rounds
/// @dev No immutables: the deployed code equals the audited build byte for byte. No owner; no Ether but
/// the bonds. It calls nobody; the court that it created calls it. Nothing here is upgradable.
contract RoundLedger is Roster, Bonds {
    // A seat is a bit of a 32-bit map; the aggregators' seats lie beyond them, in the order of their turns.
    uint8 private constant MOST_MEMBERS = 32;
    uint8 private constant FEWEST_MEMBERS = 3; // threshold 2 needs 2 * 2 - 1
    uint8 private constant FIRST_AGGREGATOR_SEAT = 33;
    uint8 private constant MOST_AGGREGATORS = 3;

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
        uint64 proposed; // 35 seats
        uint32 confirmed;
        uint32 objected;
    }

    /// One account's place in a study.
    struct Seat {
        uint8 number;
        bool idle; // the consortium suspended, removed or replaced the account
    }

    /// A key that members proposed; bit k stands for seat k + 1.
    struct Candidate {
        uint32 proposed;
        uint32 accepted;
        uint32 ciphertexts; // as the first to accept it said
        bool adopted;
    }

    /// A key that was adopted; it rules from round `first` to the one before the next epoch's.
    struct Epoch {
        uint32 first;
        uint32 ciphertexts;
        Digest key;
    }

    /// @inheritdoc IRoundLedger
    address public court;

    /// @inheritdoc IRoundLedger
    uint32 public studies;

    mapping(StudyId study => Study) private _studies;
    mapping(StudyId study => mapping(address account => Seat)) private _seats;
    mapping(StudyId study => mapping(uint8 seat => address)) private _members;
    mapping(StudyId study => mapping(Digest key => Candidate)) private _candidates;
    mapping(StudyId study => Epoch[]) private _laterEpochs; // the first one's key is in the study itself
    mapping(RoundId round => Round) private _rounds;
    mapping(RoundId round => Aftermath) private _aftermaths;
    mapping(RoundId round => mapping(uint8 seat => Digest root)) private _commitments;
    mapping(RoundId round => Total) private _totals;
    mapping(RoundId round => mapping(bytes32 result => bool)) private _results;

    constructor(Member[] memory founders) Roster(founders) {
        court = address(new Court());
    }

    // ------------------------------------------------------------------ studies

    /// @inheritdoc IRoundLedger
    function createStudy(StudyTerms calldata terms) external returns (StudyId study) {
        _requireOnRoster(msg.sender);
        if (successor.ledger != address(0)) revert Superseded(successor.ledger);
        _requireSoundTerms(terms);
        study = StudyId.wrap(++studies);
        _seatMembers(study, terms);
        Study storage s = _studies[study];
        s.windows = terms.windows;
        s.rounds = terms.rounds;
        s.seats = uint8(terms.members.length); // at most MOST_MEMBERS
        s.threshold = terms.threshold;
        s.minimum = terms.minimum;
        s.aggregators = uint8(terms.aggregators.length); // at most MOST_AGGREGATORS
        s.leaves = terms.leaves;
        s.stake = terms.stake;
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

    /// @inheritdoc IRoundLedger
    function followRoster(StudyId study, address account) external {
        Seat storage seat = _seats[study][account];
        if (seat.number == 0) revert NotInStudy(study, account);
        Standing storage s = _standing(account);
        address heir = s.heir;
        bool idle = s.state != State.Active;
        bool moves = heir != address(0) && _seats[study][heir].number == 0;
        if (idle == seat.idle && !moves) revert SeatInLine(study, account);
        seat.idle = idle;
        uint8 number = seat.number;
        if (moves) {
            idle = _standing(heir).state != State.Active;
            _seats[study][heir] = Seat(number, idle);
        }
        if (number < FIRST_AGGREGATOR_SEAT) {
            uint32 map = _studies[study].idle;
            _studies[study].idle = idle ? map | _bit(number) : map & ~_bit(number);
        }
        emit SeatFollowed(study, msg.sender, account, s.state, heir);
    }

    // ------------------------------------------------------------------ key epochs

    /// @inheritdoc IRoundLedger
    function proposeKey(StudyId study, Digest key, ContentId calldata cid) external {
        uint32 bit = _memberBit(study);
        Candidate storage c = _candidates[study][key];
        if (c.proposed & bit != 0) revert KeyAlreadyProposed(study, key, msg.sender);
        Study storage s = _studies[study];
        // INVARIANT I14: an adopted key never comes back: its shares are to be destroyed.
        if (key == s.key || c.adopted) revert KeyAlreadyAdopted(study, key);
        _requireRunning(study, s);
        _requireSet(key);
        _requireCid(cid);
        c.proposed |= bit;
        emit KeyProposed(study, msg.sender, key, cid);
    }

    /// @inheritdoc IRoundLedger
    function acceptKey(StudyId study, Digest key, uint32 ciphertexts) external {
        uint32 bit = _memberBit(study);
        Candidate storage c = _candidates[study][key];
        if (c.accepted & bit != 0) revert KeyAlreadyAccepted(study, key, msg.sender);
        Study storage s = _studies[study];
        if (key == s.key) revert KeyAlreadyAdopted(study, key);
        _requireRunning(study, s);
        if (c.proposed == 0) revert KeyNotProposed(study, key);
        if (c.accepted == 0) {
            c.ciphertexts = ciphertexts;
        } else if (c.ciphertexts != ciphertexts) {
            revert WrongCiphertexts(study, key, c.ciphertexts, ciphertexts);
        }
        uint32 accepted = c.accepted | bit;
        c.accepted = accepted;
        // Whoever is suspended is not waited for; nor do fewer agree than could open anything under the key.
        if (!c.adopted && (accepted | s.idle) == _everyone(s.seats) && _count(accepted) >= s.minimum) {
            c.adopted = true;
            // INVARIANT I12: a commitment to the very next round may be on its way under the key before.
            // INVARIANT I13: `latest` never falls, so epochs are in order and no opened round's key changes.
            _laterEpochs[study].push(Epoch({first: s.latest + 2, ciphertexts: ciphertexts, key: key}));
        }
        emit KeyAccepted(study, msg.sender, key, ciphertexts);
    }

    // ------------------------------------------------------------------ rounds

    /// @inheritdoc IRoundLedger
    function commitUpdate(RoundId round, Digest root, Digest baseModel) external {
        uint8 seat = _memberSeat(_studyOf(round));
        uint32 bit = _bit(seat);
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
        _commitments[round][seat] = root;
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
        uint8 place = _place(study);
        Round storage r = _opened(round);
        // INVARIANT I7: one total at a time, and another only before any share; else a second set could be opened.
        if (_hasTotal(r)) revert TotalAlreadyPosted(round);
        _requireGoingOn(round, r);
        if (r.reveals != r.commits && _now() <= r.revealCloses) {
            revert RevealWindowOpen(round, r.revealCloses, _now());
        }
        Total storage t = _totals[round];
        Stake storage stake = _studies[study].stake;
        _requireTurn(round, r, t, place);
        _lockBond(study, uint256(stake.gwei_) * 1 gwei, _now().later(stake.lock));
        _requireMinimum(r.minimum, members.length);
        uint32 map = _requireRevealed(round, r.reveals & ~t.struck, members);
        _requireSet(root);
        _requireCid(cid);
        r.openCloses = _now().later(_studies[study].windows.open);
        r.takenBack = false;
        t.root = root;
        t.aggregator = msg.sender;
        t.members = map;
        emit TotalPosted(round, msg.sender, members, root, cid);
    }

    /// @inheritdoc IRoundLedger
    function postShare(RoundId round, Digest total, Digest digest, ContentId calldata cid) external {
        uint32 bit = _memberBit(_studyOf(round));
        Round storage r = _opened(round);
        // INVARIANT I8: one share a member, of one total, never taken back.
        if (r.shares & bit != 0) revert AlreadyShared(round, msg.sender);
        if (!_hasTotal(r)) revert NoTotal(round);
        // A finished round takes shares without a deadline: else one false share and one true one would
        // let their senders finish with any result, and nobody could ever open the right one.
        if (r.status != Status.Finished) {
            if (_now() > r.openCloses) revert OpenWindowClosed(round, r.openCloses, _now());
            _requireGoingOn(round, r); // a proven fault ends it within its window
        }
        // A share on its way while one total takes another's place must not count for the other one.
        Digest root = _totals[round].root;
        if (total != root) revert WrongTotal(round, root, total);
        _requireSet(digest);
        _requireCid(cid);
        r.shares |= bit;
        emit SharePosted(round, msg.sender, total, digest, cid);
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

    // ------------------------------------------------------------------ verdicts

    /// @inheritdoc IRoundLedger
    function convict(RoundId round, address challenger, address member, Fault fault, uint64 leaf) external {
        if (msg.sender != court) revert NotCourt(msg.sender);
        StudyId study = _studyOf(round);
        Round storage r = _rounds[round];
        Total storage t = _disputed(round);
        address culprit = t.aggregator;
        // The others take their turns; whoever is struck is in no further total of this round.
        t.faulty |= uint8(1 << (_seats[study][culprit].number - FIRST_AGGREGATOR_SEAT));
        if (member != address(0)) t.struck |= _bit(_seats[study][member].number);
        if (r.status == Status.Open && r.shares == 0) {
            r.openCloses = _now();
            r.takenBack = true;
            t.root = Digest.wrap(0);
        } else {
            // INVARIANT I8: what was opened stays opened: nobody combines anew.
            t.proven = true;
            if (r.status == Status.Open) r.status = Status.Tainted;
        }
        Stake storage stake = _studies[study].stake;
        address beneficiary = stake.treasury == address(0) ? challenger : stake.treasury;
        uint256 slashed = _slash(study, culprit, uint256(stake.gwei_) * 1 gwei, beneficiary);
        emit FaultProven(round, challenger, culprit, member, fault, leaf, slashed, beneficiary);
    }

    /// @inheritdoc IRoundLedger
    function caseOf(RoundId round) external view returns (Case memory c) {
        Total storage t = _disputed(round);
        StudyId study = _studyOf(round);
        c.leaves = _studies[study].leaves;
        (c.key, c.leaves.ciphertexts) = _keyOf(round);
        c.total = t.root;
        uint32 map = t.members;
        uint256 count = _count(map);
        c.members = new address[](count);
        c.roots = new Digest[](count);
        mapping(uint8 => address) storage seated = _members[study];
        mapping(uint8 => Digest) storage committed = _commitments[round];
        uint256 next = 0;
        // Bounded by the map's 32 bits, of which `count` are set.
        for (uint8 seat = 1; next < count; map >>= 1) {
            unchecked {
                if (map & 1 != 0) {
                    c.members[next] = seated[seat];
                    c.roots[next++] = committed[seat];
                }
                ++seat;
            }
        }
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRoundLedger
    function studyOf(StudyId study) external view returns (Study memory) {
        return _studies[study];
    }

    /// @inheritdoc IRoundLedger
    function keyOf(RoundId round) external view returns (Digest key) {
        (key,) = _keyOf(round);
    }

    /// @inheritdoc IRoundLedger
    function seatOf(StudyId study, address account) external view returns (uint8) {
        return _seats[study][account].number;
    }

    /// @inheritdoc IRoundLedger
    function roundOf(RoundId round) external view returns (Round memory) {
        return _rounds[round];
    }

    /// @inheritdoc IRoundLedger
    function commitmentOf(RoundId round, address member) external view returns (Digest) {
        return _commitments[round][_seats[_studyOf(round)][member].number];
    }

    /// @inheritdoc IRoundLedger
    function totalOf(RoundId round) external view returns (Total memory) {
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
        _requireWithin("aggregators", 1, MOST_AGGREGATORS, terms.aggregators.length);
        _requireWithin("rounds", 1, type(uint32).max, terms.rounds);
        _requireWithin("windows.commit", 1, type(uint32).max, terms.windows.commit);
        _requireWithin("windows.reveal", 1, type(uint32).max, terms.windows.reveal);
        _requireWithin("windows.combine", 1, type(uint32).max, terms.windows.combine);
        _requireWithin("windows.open", 1, type(uint32).max, terms.windows.open);
        _requireAggregators(terms.aggregators);
        _requireSet(terms.digest);
        _requireSet(terms.key);
        _requireSet(terms.leaves.binding);
        _requireCid(terms.cid);
    }

    function _seatMembers(StudyId study, StudyTerms calldata terms) private {
        address last = address(0);
        // INVARIANT I2: seats are distinct, since members increase and none of them is an aggregator.
        for (uint256 i = 0; i < terms.members.length; ++i) {
            address member = terms.members[i];
            if (member <= last) revert MembersNotIncreasing(i);
            _requireRole(member, INSTITUTION);
            _seats[study][member].number = uint8(i + 1); // at most MOST_MEMBERS
            _members[study][uint8(i + 1)] = member;
            last = member;
        }
        for (uint256 i = 0; i < terms.aggregators.length; ++i) {
            _seats[study][terms.aggregators[i]].number = uint8(FIRST_AGGREGATOR_SEAT + i); // at most MOST_AGGREGATORS
        }
    }

    function _requireAggregators(address[] calldata aggregators) private view {
        for (uint256 i = 0; i < aggregators.length; ++i) {
            _requireRole(aggregators[i], AGGREGATOR);
            for (uint256 j = 0; j < i; ++j) {
                if (aggregators[i] == aggregators[j]) revert DuplicateMember(aggregators[i]);
            }
        }
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
        StudyId study = _studyOf(round);
        Windows storage windows = _studies[study].windows;
        if (_hasTotal(r)) {
            if (_now() <= r.openCloses) return 0;
            if (r.shares == 0) return NO_SHARES;
            if (_count(r.shares) < r.threshold) return TOO_FEW_SHARES;
            return _now() > r.openCloses.later(windows.open) ? NO_RESULT : 0;
        }
        if (_now() > r.commitCloses && _count(r.commits) < r.minimum) return TOO_FEW_COMMITS;
        Total storage t = _totals[round];
        if (_now() > r.revealCloses && _count(r.reveals & ~t.struck) < r.minimum) return TOO_FEW_REVEALS;
        return _now() > _combineCloses(study, r, t) ? NO_TOTAL : 0;
    }

    /// Whether the aggregator of this place may post a total now.
    function _requireTurn(RoundId round, Round storage r, Total storage t, uint8 place) private view {
        StudyId study = _studyOf(round);
        uint32 mine = uint32(1) << place;
        if (t.faulty & mine != 0) revert FaultyAggregator(round, msg.sender);
        uint8 count = _studies[study].aggregators;
        // INVARIANT I18: each round begins with another one: whoever wastes its turn wastes no other's.
        uint32 first = uint32(1) << uint8((uint32(RoundId.unwrap(round)) - 1) % count); // below MOST_AGGREGATORS
        // Those from the first one on, round the end of the list, and before the caller.
        uint32 earlier = mine >= first ? mine - first : (uint32(1) << count) - first + mine - 1;
        // Without the faulty ones, they have a window each before its turn.
        uint256 before = _count(earlier & ~uint32(t.faulty));
        if (before != 0) {
            Timestamp passed = _combineBegins(r).laterBy(before, _studies[study].windows.combine);
            if (_now() <= passed) revert NotYourTurn(round, passed.later(1), _now());
        }
        Timestamp closes = _combineCloses(study, r, t);
        if (_now() > closes) revert CombineWindowClosed(round, closes, _now());
    }

    function _combineBegins(Round storage r) private view returns (Timestamp) {
        return r.takenBack ? r.openCloses : r.revealCloses;
    }

    /// The end of the last turn.
    function _combineCloses(StudyId study, Round storage r, Total storage t) private view returns (Timestamp) {
        Study storage s = _studies[study];
        uint256 turns = s.aggregators - _count(t.faulty);
        return _combineBegins(r).laterBy(turns, s.windows.combine);
    }

    /// The key that rules the round, and how many capsule leaves it leads to.
    function _keyOf(RoundId round) private view returns (Digest key, uint32 ciphertexts) {
        StudyId study = _studyOf(round);
        uint32 number = uint32(RoundId.unwrap(round));
        Epoch[] storage later = _laterEpochs[study];
        // From the newest back. Bounded by consent: an epoch is there only where its members wanted it.
        for (uint256 i = later.length; i != 0; --i) {
            Epoch storage epoch = later[i - 1];
            if (epoch.first <= number) return (epoch.key, epoch.ciphertexts);
        }
        return (_studies[study].key, _studies[study].leaves.ciphertexts);
    }

    function _opened(RoundId round) private view returns (Round storage r) {
        r = _rounds[round];
        if (r.status == Status.None) revert NotOpened(round);
    }

    function _requireGoingOn(RoundId round, Round storage r) private view {
        if (r.status != Status.Open) revert RoundEnded(round);
    }

    function _hasTotal(Round storage r) private view returns (bool) {
        return Timestamp.unwrap(r.openCloses) != 0 && !r.takenBack;
    }

    /// The total of which a fault may be proven: the one that stands, once.
    function _disputed(RoundId round) private view returns (Total storage t) {
        if (!_hasTotal(_opened(round))) revert NoTotal(round);
        t = _totals[round];
        if (t.proven) revert FaultAlreadyProven(round);
    }

    // ------------------------------------------------------------------ who and what

    function _seat(StudyId study) private view returns (uint8 seat) {
        Seat storage found = _seats[study][msg.sender];
        seat = found.number;
        if (seat == 0) revert NotInStudy(study, msg.sender);
        if (found.idle) revert SeatIdle(study, msg.sender);
    }

    function _memberSeat(StudyId study) private view returns (uint8 seat) {
        seat = _seat(study);
        if (seat >= FIRST_AGGREGATOR_SEAT) revert NotInStudy(study, msg.sender);
    }

    function _memberBit(StudyId study) private view returns (uint32) {
        return _bit(_memberSeat(study));
    }

    function _bit(uint8 seat) private pure returns (uint32) {
        return uint32(1) << (seat - 1);
    }

    /// @inheritdoc Bonds
    function _place(StudyId study) internal view override returns (uint8) {
        Seat storage found = _seats[study][msg.sender];
        uint8 seat = found.number;
        if (seat < FIRST_AGGREGATOR_SEAT) revert NotAggregator(msg.sender);
        if (found.idle) revert SeatIdle(study, msg.sender);
        return seat - FIRST_AGGREGATOR_SEAT;
    }

    /// The members' map; all of them have to be in `reveals`.
    function _requireRevealed(RoundId round, uint32 reveals, address[] calldata members)
        private
        view
        returns (uint32 map)
    {
        mapping(address => Seat) storage seats = _seats[_studyOf(round)];
        address last = address(0);
        // Bounded: every pass consumes one of at most 32 revealed members.
        for (uint256 i = 0; i < members.length; ++i) {
            address member = members[i];
            if (member <= last) revert MembersNotIncreasing(i);
            uint8 seat = seats[member].number;
            // An aggregator's bit lies beyond the 32 of the map, so it never counts as revealed.
            if (seat == 0 || reveals & (uint256(1) << (seat - 1)) == 0) revert NotRevealed(round, member);
            map |= _bit(seat);
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

    /// How many bits of the map are set: added in pairs, fours, bytes, so that more members cost no more.
    function _count(uint32 map) private pure returns (uint256 found) {
        unchecked {
            found = map - ((map >> 1) & 0x55555555);
            found = (found & 0x33333333) + ((found >> 2) & 0x33333333);
            found = (found + (found >> 4)) & 0x0f0f0f0f;
            found = ((found * 0x01010101) >> 24) & 0xff;
        }
    }
}
