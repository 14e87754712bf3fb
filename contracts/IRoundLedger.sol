// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity 0.8.37;

import {Digest, RoundId, StudyId, Timestamp} from "./Types.sol";

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

    /// @notice What a judge has to know of payloads.
    struct Leaves {
        uint8 suite; // 1 `paillier`, 2 `hybrid`; of no other is anything judged
        uint32 ciphertexts; // capsule leaves under the first epoch's key
        uint32 chunks; // body leaves
        Digest binding; // over ledger id and shape digest: headers name them, and the contract cannot see them
    }

    /// @notice What an aggregator loses when a fault of its total is proven.
    struct Stake {
        uint64 gwei_; // that it must have deposited when it posts a total
        uint32 lock; // seconds after that in which it cannot withdraw
        address treasury; // who gets it; zero: whoever proves the fault
    }

    /// @notice What the contract enforces of a study; all else stands in the spec behind `digest`.
    struct StudyTerms {
        Digest digest; // SHA-256 of the spec's bytes
        ContentId cid;
        Digest key; // of the first epoch: modulus, verification keys and key proof hang on it
        Leaves leaves;
        address[] members; // institutions, strictly increasing
        address[] aggregators; // in the order of their turns in the first round
        uint8 threshold; // key shares that open a total
        uint8 minimum; // contributors below which nothing is opened
        uint32 rounds; // rounds that may finish
        Windows windows;
        Stake stake;
    }

    enum Status {
        None,
        Open,
        Finished,
        Abandoned,
        Tainted
    }

    enum State {
        None,
        Active,
        Suspended, // until it is reinstated; what it did before stands
        Left,
        Replaced // by its heir, which acts in its place
    }

    /// @notice What the consortium has decided of an account on its roster.
    struct Standing {
        State state;
        uint8 voter; // bit of its vote, of an institution
        address heir; // who replaced it
    }

    enum MotionKind {
        Admit, // `member` joins
        Remove, // `subject` leaves for good
        Suspend, // `subject` may not act
        Reinstate, // a suspended `subject` may act again
        Replace, // the organisation of `subject` has new keys: `member`, in the same role
        SetQuorum, // motions need `value` votes, but never fewer than a majority nor more than there are
        Supersede // the contract `subject`, with this `code`, takes over: no new study here
    }

    /// @notice What institutions vote on; fields that its kind does not name count for its identity alone.
    struct Motion {
        MotionKind kind;
        address subject;
        Member member;
        uint256 value;
        Digest code; // SHA-256 over the code of the contract that takes over, and its court's
        Timestamp expires; // its last second; at most 90 days from each vote
    }

    /// @notice Where a consortium goes on.
    struct Succession {
        address ledger;
        Digest code;
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
        uint32 accepted; // bit k: the member of seat k + 1
        uint8 aggregators; // how many
        uint32 idle; // bit k: nobody may act in the seat k + 1
        Leaves leaves;
        Stake stake;
        Digest digest;
        Digest key; // of the first epoch
    }

    /// @notice The total that stands in a round, and what was proven of it and of those before it.
    struct Total {
        Digest root; // zero while none stands
        address aggregator; // who posted the newest one
        uint32 members; // bit k: the update of seat k + 1 is in it
        uint32 struck; // bit k: the update of seat k + 1 was proven malformed
        uint8 faulty; // bit k: a fault of the aggregator of turn k was proven in this round
        bool proven; // a fault of the total that stands was proven
    }

    /// @notice One account's stake in one study.
    struct Bond {
        uint216 amount; // wei
        Timestamp lockedUntil; // the last second in which nothing is paid out
    }

    /// @notice What the ledger holds of a total's payloads; nothing in it comes from whoever disputes.
    struct Case {
        Leaves leaves; // `ciphertexts` as of the round's key
        Digest key;
        Digest total; // its root
        address[] members; // in it, in order
        Digest[] roots; // of their updates
    }

    /// @notice What a dispute has proven.
    enum Fault {
        None,
        Sum, // a leaf of the total is not the sum of its members' leaves
        Leaf, // an admitted update has a leaf that breaks the suite's rules
        Header, // an admitted update, or the total, has another header than the one that is due
        Proof // an admitted update has a submission proof that cannot pass for its form alone
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
        bool takenBack; // no total stands: the last one was taken back at `openCloses`
    }

    // ------------------------------------------------------------------ events

    event MemberJoined(address indexed account, uint8 role, bytes32 sealingKey, bytes32 name);
    event Voted(bytes32 indexed id, address indexed sender, Motion motion);
    event SeatFollowed(StudyId indexed study, address indexed sender, address account, State state, address heir);
    event BondDeposited(StudyId indexed study, address indexed sender, uint256 amount);
    event BondWithdrawn(StudyId indexed study, address indexed sender, uint256 amount);
    event StudyCreated(StudyId indexed study, address indexed sender, StudyTerms terms);
    event StudyAccepted(StudyId indexed study, address indexed sender, Digest digest);
    event KeyProposed(StudyId indexed study, address indexed sender, Digest key, ContentId cid);
    event KeyAccepted(StudyId indexed study, address indexed member, Digest key, uint32 ciphertexts);
    event UpdateCommitted(RoundId indexed round, address indexed member, Digest root, Digest baseModel);
    event UpdateRevealed(RoundId indexed round, address indexed member, ContentId cid);
    event TotalPosted(
        RoundId indexed round, address indexed sender, address[] members, Digest root, ContentId cid
    );
    event SharePosted(
        RoundId indexed round, address indexed member, Digest total, Digest digest, ContentId cid
    );
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
    event FaultProven(
        RoundId indexed round,
        address indexed sender,
        address aggregator, // who posted the total
        address member, // whose admitted update is at fault; zero: nobody's
        Fault fault,
        uint64 leaf, // index in the tree
        uint256 slashed, // wei
        address beneficiary
    );

    // ------------------------------------------------------------------ errors: who

    error ZeroAddress();
    error UnknownRole(uint8 role);
    error DuplicateMember(address account);
    error NotOnRoster(address account);
    error WrongRole(address account, uint8 expected, uint8 found);
    error NotInStudy(StudyId study, address account);
    error NotAggregator(address account);
    error NotCourt(address account);
    error NoVote(address account);
    error WrongState(address account, State found);
    error SeatIdle(StudyId study, address account);
    error FaultyAggregator(RoundId round, address account);

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
    error WrongTotal(RoundId round, Digest expected, Digest found);
    error WrongCiphertexts(StudyId study, Digest key, uint32 expected, uint32 found);
    error ZeroAmount();
    error BondTooSmall(uint256 needed, uint256 found);
    error PaymentFailed(address account);
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
    error NotYourTurn(RoundId round, Timestamp beginsAt, Timestamp nowAt);
    error CombineWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error OpenWindowClosed(RoundId round, Timestamp closesAt, Timestamp nowAt);
    error NoTotal(RoundId round);
    error NotFinished(RoundId round);
    error RoundEnded(RoundId round);
    error NotYet(RoundId round, Timestamp nowAt);
    error MotionExpired(Timestamp expiresAt, Timestamp nowAt);
    error MotionTooLong(Timestamp latest, Timestamp found);
    error MotionCarried();
    error SeatInLine(StudyId study, address account);
    error Superseded(address successor);
    error BondLocked(Timestamp until, Timestamp nowAt);

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
    error FaultAlreadyProven(RoundId round);
    error AlreadyVoted(address account);

    // ------------------------------------------------------------------ governance

    /// @notice Vote for a motion; the vote that reaches the quorum carries it.
    /// @dev Anybody of the institutions in good standing may begin one: it is there once somebody voted for
    /// it. INVARIANT I17: at least `quorum` institutions in good standing at that moment voted for whatever is
    /// carried. Refuses `NoVote`, `AlreadyVoted`, `MotionCarried`, `MotionExpired`, `MotionTooLong`; and the vote that
    /// would carry it, by what stands in the way: `DuplicateMember`, `WrongState`, `WrongRole`, `BadTerms`,
    /// `ZeroAddress`, `UnknownRole`, `Superseded`, `ZeroDigest`.
    function vote(Motion calldata motion) external;

    /// @notice Bring a study's seat in line with what the consortium decided of its account.
    /// @dev A suspended or removed account's seat is idle: its calls in that study are refused from here on, and the
    /// windows run without it. A replaced account's seat is its heir's. Anyone may call. Refuses `NotInStudy`,
    /// `SeatInLine`.
    function followRoster(StudyId study, address account) external;

    // ------------------------------------------------------------------ studies

    /// @notice Propose a study; it binds nobody before all its members accept.
    /// @dev Refuses `NotOnRoster`, `Superseded`, `BadTerms`, `WrongRole`, `MembersNotIncreasing`, `ZeroDigest`,
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
    /// INVARIANT I14: a key that was adopted, or that the study began with, never comes back, since its
    /// shares are to be destroyed.
    /// Refuses `NotInStudy`, `KeyAlreadyProposed`, `KeyAlreadyAdopted`, `NotAccepted`, `StudyComplete`,
    /// `ZeroDigest`, `MalformedCid`.
    /// @param key the suite's digest of the key; it covers the verification keys and the key proof
    /// @param cid where the key's public document lies
    function proposeKey(StudyId study, Digest key, ContentId calldata cid) external;

    /// @notice Agree to a proposed key: the caller has checked it, and holds its share of it.
    /// @dev INVARIANT I12: when the last member agrees whose seat is not idle, the key rules all rounds from the newest + 2 on.
    /// A member whose seat is idle then is not waited for, as long as `minimum` members agreed: a suspension must
    /// not keep the others under a key that they want to be rid of. It may still agree afterwards.
    /// Never the very next one: a commitment to it may already be on its way under the key before. Whoever
    /// commits to the round after that has seen the next one opened, and so has seen this call too.
    /// Refuses `NotInStudy`, `KeyAlreadyAccepted`, `KeyAlreadyAdopted`, `NotAccepted`, `StudyComplete`,
    /// `KeyNotProposed`, `WrongCiphertexts`.
    /// @param ciphertexts capsule leaves of an update under this key; the first to accept says how many
    function acceptKey(StudyId study, Digest key, uint32 ciphertexts) external;

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
    /// @dev INVARIANT I7: at most one total stands, over revealed members only, and at least `minimum`;
    /// another takes its place only after a fault was proven of it, and before any share.
    /// Aggregators have turns of one window each, from the end of the reveals or from the proof of the last fault
    /// on; whose turn began keeps it while later ones have theirs. They go round in the study's order, and round r
    /// begins with the one at place (r - 1) modulo their number: who wastes its turn wastes no other's.
    /// Refuses `NotAggregator`, `NotOpened`, `TotalAlreadyPosted`, `RoundEnded`, `RevealWindowOpen`,
    /// `FaultyAggregator`, `NotYourTurn`, `CombineWindowClosed`, `BondTooSmall`, `TooFewContributors`,
    /// `MembersNotIncreasing`, `NotRevealed`, `ZeroDigest`, `MalformedCid`.
    /// @param members the admitted ones, strictly increasing
    function postTotal(RoundId round, address[] calldata members, Digest root, ContentId calldata cid)
        external;

    /// @notice Give the caller's one share of the opening of the posted total, contributor or not.
    /// @dev INVARIANT I8: from the first share on the round counts as opened. Taken until the window
    /// closes, and without a deadline once there is a result: false shares must not keep true ones out.
    /// Refuses `NotInStudy`, `NotOpened`, `AlreadyShared`, `NoTotal`, `OpenWindowClosed`, `RoundEnded`, `WrongTotal`,
    /// `ZeroDigest`, `MalformedCid`.
    /// @param total root of the total that the share opens: one that is on its way while another total
    /// takes its place must not count for that one
    function postShare(RoundId round, Digest total, Digest digest, ContentId calldata cid) external;

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

    // ------------------------------------------------------------------ verdicts

    /// @notice The court has seen proof that the posted total is unlawful.
    /// @dev Only the court that this contract created calls it. The aggregator's bond is slashed, and it posts
    /// no further total in this round; a member whose admitted update is at fault is in no further total of it.
    /// While the round is open: before any share the total is taken back, and the other aggregators
    /// have their turns; after one the round is tainted. A round that has ended stays as it is.
    /// INVARIANT I15: `caseOf` is all that a verdict rests on, besides leaves that lie under its roots.
    /// Refuses `NotCourt`, and what `caseOf` refuses.
    /// @param challenger who brought the proof
    /// @param member whose admitted update is at fault; zero: nobody's
    /// @param leaf its index in the tree
    function convict(RoundId round, address challenger, address member, Fault fault, uint64 leaf) external;

    /// @notice What a court may believe of the total that stands in the round.
    /// @dev Refuses `NotOpened`, `NoTotal`, `FaultAlreadyProven`.
    function caseOf(RoundId round) external view returns (Case memory);

    // ------------------------------------------------------------------ bonds

    /// @notice Stake Ether on the totals that the caller posts in a study.
    /// @dev Refuses `NotAggregator`, `SeatIdle`, `ZeroAmount`. INVARIANT I16: the contract holds what the bonds add
    /// up to.
    function depositBond(StudyId study) external payable;

    /// @notice Take back what is the caller's own: its bond in the study, once no lock holds, or what it was awarded.
    /// @dev Refuses `BondLocked`, `ZeroAmount`, `BondTooSmall`, `PaymentFailed`.
    /// @param amount wei
    function withdrawBond(StudyId study, uint256 amount) external;

    // ------------------------------------------------------------------ views

    function bondOf(StudyId study, address account) external view returns (Bond memory);

    /// @notice Who judges evidence; created with this contract.
    function court() external view returns (address);

    /// @notice How many votes carry a motion now: what was asked, but at least a majority, at most all.
    function quorum() external view returns (uint256);

    function standingOf(address account) external view returns (Standing memory);

    /// @notice Where the consortium goes on; zero while it does here.
    function successor() external view returns (address ledger, Digest code);

    /// @notice The roster's line; role 0 for strangers.
    function memberOf(address account) external view returns (Member memory);

    /// @notice How many studies were created: their numbers are 1 … this.
    function studies() external view returns (uint32);

    function studyOf(StudyId study) external view returns (Study memory);

    /// @notice The key that rules the round; zero where there is no such study.
    /// @dev INVARIANT I13: it is settled for every round up to the newest + 1, and may change for later ones.
    function keyOf(RoundId round) external view returns (Digest);

    /// @notice 1 … 32 for the study's members in order, 33 … 35 for its aggregators, 0 for all others.
    function seatOf(StudyId study, address account) external view returns (uint8);

    function roundOf(RoundId round) external view returns (Round memory);

    /// @notice The root that the member committed to; zero before.
    function commitmentOf(RoundId round, address member) external view returns (Digest);

    /// @notice The total that stands.
    function totalOf(RoundId round) external view returns (Total memory);
}
