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

using {isAfter as >, isAtOrBefore as <=, later} for Timestamp global;
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

function isDifferent(Digest a, Digest b) pure returns (bool) {
    return Digest.unwrap(a) != Digest.unwrap(b);
}

function isEqual(Digest a, Digest b) pure returns (bool) {
    return Digest.unwrap(a) == Digest.unwrap(b);
}

function isZero(Digest a) pure returns (bool) {
    return Digest.unwrap(a) == 0;
}

/// @title The notary of sums over patients
/// @notice Records who bound itself to what, and when; holds no data and schedules nothing.
/// @dev Every call either appends exactly one event or reverts with one of the errors below.
/// Each is checked in one order, so that two implementations refuse a call for the same reason:
/// who calls; whether the round was opened; whether the caller did this before (a call sent
/// twice is always answered `Already…`, however late); whether the phase is right; the arguments.
interface IRoundLedger {
    // ------------------------------------------------------------------ what is recorded

    /// @notice A CIDv1 of 36 bytes with a SHA-256 multihash.
    struct ContentId {
        bytes4 prefix; // 0x01551220 (codec raw) or 0x01701220 (codec dag-pb)
        bytes32 digest;
    }

    /// @notice One line of the roster.
    struct Member {
        address account;
        uint8 role; // 1 institution, 2 aggregator, 3 auditor
        bytes32 sealingKey; // X25519 public key
        bytes32 name; // ASCII, for people only, never compared
    }

    /// @notice How long each phase of a round may last, in seconds of block time. A window includes
    /// its last second: an act at the deadline is in time, and ends nothing.
    struct Windows {
        uint32 commit;
        uint32 reveal;
        uint32 combine;
        uint32 open;
    }

    /// @notice What the contract enforces of a study; all else stands in the spec behind `digest`.
    struct StudyTerms {
        Digest digest; // SHA-256 of the spec's bytes
        ContentId cid;
        Digest key; // of the first epoch: modulus, verification keys and key proof hang on it
        address[] members; // institutions, strictly increasing
        address aggregator;
        uint8 threshold; // key shares that open a total
        uint8 minimum; // contributors below which nothing is opened
        uint32 rounds; // rounds that may finish
        Windows windows;
    }

    enum Status {
        None,
        Open,
        Finished,
        Abandoned,
        Tainted
    }

    /// @notice A study as stored; all that opening a round needs, up to `running`, is one slot.
    struct Study {
        Windows windows;
        uint32 rounds;
        uint32 latest; // number of the newest round
        uint32 finished; // how many rounds finished
        uint8 seats; // how many members
        uint8 threshold;
        uint8 minimum;
        bool running; // every member accepted
        address aggregator;
        uint32 accepted; // bit k: the member of seat k + 1
        Digest digest;
        Digest key; // of the first epoch
    }

    /// @notice A round as stored, in one slot. Bit k of a map stands for the member of seat k + 1.
    struct Round {
        Status status;
        uint8 seats; // copied from the study, so that a member's calls read one slot
        uint8 threshold;
        uint8 minimum;
        uint32 commits;
        uint32 reveals;
        uint32 shares;
        Timestamp commitCloses;
        Timestamp revealCloses;
        Timestamp openCloses; // zero until the total is posted
    }

    // ------------------------------------------------------------------ events

    event MemberJoined(address indexed account, uint8 role, bytes32 sealingKey, bytes32 name);
    event StudyCreated(StudyId indexed study, address indexed sender, StudyTerms terms);
    event StudyAccepted(StudyId indexed study, address indexed sender, Digest digest);
    event KeyProposed(StudyId indexed study, address indexed sender, Digest key, ContentId cid);
    event KeyAccepted(StudyId indexed study, address indexed member, Digest key);
    event UpdateCommitted(RoundId indexed round, address indexed member, Digest root, Digest baseModel);
    event UpdateRevealed(RoundId indexed round, address indexed member, ContentId cid);
    event TotalPosted(
        RoundId indexed round, address indexed sender, address[] members, Digest root, ContentId cid
    );
    event SharePosted(RoundId indexed round, address indexed member, Digest digest, ContentId cid);
    event ResultProposed(
        RoundId indexed round,
        address indexed sender,
        Digest opening,
        Digest model,
        ContentId openingCid,
        ContentId modelCid
    );
    event ModelConfirmed(RoundId indexed round, address indexed member, Digest model);
    event ResultObjected(
        RoundId indexed round,
        address indexed member,
        Digest proposedOpening,
        Digest proposedModel,
        Digest foundOpening,
        Digest foundModel
    );
    event RoundAbandoned(RoundId indexed round, address indexed sender, uint8 reason);
    event RoundTainted(RoundId indexed round, address indexed sender, uint8 reason);

    // ------------------------------------------------------------------ errors: who

    error ZeroAddress();
    error UnknownRole(uint8 role);
    error DuplicateMember(address account);
    error NotOnRoster(address account);
    error WrongRole(address account, uint8 expected, uint8 found);
    error NotInStudy(StudyId study, address account);
    error NotAggregator(address account);

    // ------------------------------------------------------------------ errors: what

    error MalformedCid(bytes4 prefix);
    error ZeroDigest();
    error WrongDigest(Digest expected, Digest found);
    error BadTerms(string term, uint256 least, uint256 most, uint256 found);
    error MembersNotIncreasing(uint256 index);
    error KeyNotProposed(StudyId study, Digest key);
    error NotCommitted(RoundId round, address member);
    error NotRevealed(RoundId round, address member);
    error TooFewContributors(uint256 minimum, uint256 found);
    error TooFewShares(uint256 threshold, uint256 found);
    error SameResult(RoundId round);
    error WrongReason(uint8 expected, uint8 found);

    // ------------------------------------------------------------------ errors: when

    error NotAccepted(StudyId study);
    error StudyComplete(StudyId study);
    error WrongRound(RoundId expected, RoundId found);
    error NotOpened(RoundId round);
    error CommitWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error CommitWindowOpen(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error RevealWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error RevealWindowOpen(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error CombineWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error OpenWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error NoTotal(RoundId round);
    error NotFinished(RoundId round);
    error RoundEnded(RoundId round);
    error NotYet(RoundId round, Timestamp nowAt);

    // ------------------------------------------------------------------ errors: twice

    error AlreadyAccepted(StudyId study, address member);
    error KeyAlreadyProposed(StudyId study, Digest key, address member);
    error KeyAlreadyAccepted(StudyId study, Digest key, address member);
    error KeyAlreadyAdopted(StudyId study, Digest key);
    error AlreadyCommitted(RoundId round, address member);
    error AlreadyRevealed(RoundId round, address member);
    error TotalAlreadyPosted(RoundId round);
    error AlreadyShared(RoundId round, address member);
    error AlreadyProposed(RoundId round, address sender);
    error AlreadyConfirmed(RoundId round, address member);
    error AlreadyObjected(RoundId round, address member);

    // ------------------------------------------------------------------ studies

    /// @notice Propose a study; it binds nobody before all its members accept.
    /// @dev Refuses `NotOnRoster`, `BadTerms`, `WrongRole`, `MembersNotIncreasing`, `ZeroDigest`,
    /// `MalformedCid`. INVARIANT I3: 2 <= threshold, members >= 2 threshold - 1, threshold < minimum <= members.
    /// @return study its number, counting from 1
    function createStudy(StudyTerms calldata terms) external returns (StudyId study);

    /// @notice Agree to a study's spec; `digest` shows that the caller read the one it agrees to.
    /// @dev Refuses `NotInStudy`, `AlreadyAccepted`, `WrongDigest`.
    function acceptStudy(StudyId study, Digest digest) external;

    // ------------------------------------------------------------------ key epochs

    /// @notice Propose a key for later rounds of a running study; it binds nobody before all members accept it.
    /// @dev Any number of keys may be proposed side by side, and one key by several members, once each:
    /// whoever repeats a pending proposal with a useless place must not keep a usable one out. Nothing but
    /// consent takes a proposal off: when another key is adopted, the pending ones stay pending.
    /// INVARIANT I14: a key that all accepted, or that the study began with, never comes back, since its
    /// shares are to be destroyed.
    /// Refuses `NotInStudy`, `KeyAlreadyProposed`, `KeyAlreadyAdopted`, `NotAccepted`, `StudyComplete`,
    /// `ZeroDigest`, `MalformedCid`.
    /// @param key the suite's digest of the key; it covers the verification keys and the key proof
    /// @param cid where the key's public document lies
    function proposeKey(StudyId study, Digest key, ContentId calldata cid) external;

    /// @notice Agree to a proposed key: the caller has checked it, and holds its share of it.
    /// @dev INVARIANT I12: when the last member agrees, the key rules all rounds from the newest + 2 on.
    /// Never the very next one: a commitment to it may already be on its way under the key before. Whoever
    /// commits to the round after that has seen the next one opened, and so has seen this call too.
    /// Refuses `NotInStudy`, `KeyAlreadyAccepted`, `KeyAlreadyAdopted`, `NotAccepted`, `StudyComplete`,
    /// `KeyNotProposed`.
    function acceptKey(StudyId study, Digest key) external;

    // ------------------------------------------------------------------ rounds

    /// @notice Bind the caller to one encrypted update; the first commitment opens the round.
    /// @dev INVARIANT I5: a commitment, once made, never changes. Equal roots of two members are
    /// taken: refusing them would let a front-runner block its victim, and the update's header
    /// names its member anyway. The window closes at once when every member has committed.
    /// Refuses `NotInStudy`, `AlreadyCommitted`, `NotAccepted`, `StudyComplete`, `WrongRound`,
    /// `CommitWindowClosed`, `ZeroDigest`.
    /// @param root RFC 6962 root of the payload, which is published only after the window closes
    /// @param baseModel digest of the model the update was trained from; confirms that model
    function commitUpdate(RoundId round, Digest root, Digest baseModel) external;

    /// @notice Say where the payload that the caller committed to is.
    /// @dev INVARIANT I6: nothing is revealed while anybody may still commit. The window closes
    /// at once when all who committed have revealed.
    /// Refuses `NotInStudy`, `NotOpened`, `AlreadyRevealed`, `CommitWindowOpen`,
    /// `TooFewContributors`, `NotCommitted`, `RevealWindowClosed`, `MalformedCid`.
    function revealUpdate(RoundId round, ContentId calldata cid) external;

    /// @notice Fix the one set of members and the one total that may be opened in this round.
    /// @dev INVARIANT I7: at most one total a round, over revealed members only, and at least `minimum`.
    /// Refuses `NotAggregator`, `NotOpened`, `TotalAlreadyPosted`, `RoundEnded`, `RevealWindowOpen`,
    /// `CombineWindowClosed`, `TooFewContributors`, `MembersNotIncreasing`, `NotRevealed`,
    /// `ZeroDigest`, `MalformedCid`.
    /// @param members the admitted ones, strictly increasing
    function postTotal(RoundId round, address[] calldata members, Digest root, ContentId calldata cid)
        external;

    /// @notice Give the caller's one share of the opening of the posted total, contributor or not.
    /// @dev INVARIANT I8: from the first share on the round counts as opened. Taken until the window
    /// closes, and without a deadline once there is a result: false shares must not keep true ones out.
    /// Refuses `NotInStudy`, `NotOpened`, `AlreadyShared`, `NoTotal`, `OpenWindowClosed`, `ZeroDigest`,
    /// `MalformedCid`.
    function postShare(RoundId round, Digest digest, ContentId calldata cid) external;

    /// @notice Propose the opened sum and the model it leads to; the first proposal finishes the round.
    /// @dev INVARIANT I9: one proposal a sender, one for each result and place of its content; competing ones stay possible
    /// for ever, since confirmations are counted by the readers and not here.
    /// Refuses `NotInStudy`, `NotOpened`, `AlreadyProposed`, `RoundEnded`, `TooFewShares`,
    /// `SameResult`, `ZeroDigest`, `MalformedCid`.
    function finish(
        RoundId round,
        Digest opening,
        Digest model,
        ContentId calldata openingCid,
        ContentId calldata modelCid
    ) external;

    /// @notice Say that the caller recomputed the round's model and found this digest.
    /// @dev Refuses `NotInStudy`, `NotOpened`, `AlreadyConfirmed`, `NotFinished`, `ZeroDigest`.
    function confirmModel(RoundId round, Digest model) external;

    /// @notice Say that the caller recomputed a proposed result and found another one.
    /// @dev Refuses `NotInStudy`, `NotOpened`, `AlreadyObjected`, `NotFinished`.
    function objectToResult(
        RoundId round,
        Digest proposedOpening,
        Digest proposedModel,
        Digest foundOpening,
        Digest foundModel
    ) external;

    /// @notice End a round that nobody can finish; after a first share it becomes tainted.
    /// @dev INVARIANT I10: the contract computes the reason; the caller's must equal it, so that
    /// nobody ends a round for another reason than it believes.
    /// Refuses `NotInStudy`, `NotOpened`, `RoundEnded`, `NotYet`, `WrongReason`.
    /// @param reason 1 too few commits, 2 too few reveals, 3 no total, 4 no shares (abandoned);
    /// 5 too few shares, 6 no result (tainted)
    function abandon(RoundId round, uint8 reason) external;

    // ------------------------------------------------------------------ views

    /// @notice The roster's line; role 0 for strangers.
    function memberOf(address account) external view returns (Member memory);

    /// @notice How many studies were created: their numbers are 1 … this.
    function studies() external view returns (uint32);

    function studyOf(StudyId study) external view returns (Study memory);

    /// @notice The key that rules the round; zero where there is no such study.
    /// @dev INVARIANT I13: it is settled for every round up to the newest + 1, and may change for later ones.
    function keyOf(RoundId round) external view returns (Digest);

    /// @notice 1 … 32 for the study's members in order, 33 for its aggregator, 0 for all others.
    function seatOf(StudyId study, address account) external view returns (uint8);

    function roundOf(RoundId round) external view returns (Round memory);

    /// @notice The root that the member committed to; zero before.
    function commitmentOf(RoundId round, address member) external view returns (Digest);

    /// @notice The posted total's root; zero before.
    function totalOf(RoundId round) external view returns (Digest);
}
