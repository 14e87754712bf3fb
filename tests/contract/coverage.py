"""Which branches and lines of the contracts the tests run: `python -m tests.contract.coverage`.

The deployed build cannot tell: its optimizer merges branches of different lines and drops others. So the same
sources are compiled once more without optimizer, every branch of the source then being one conditional jump,
and the contract's own tests run against that build on Anvil, without the limit on a contract's size.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from deploy import contracts, devnet
from federation.digest import sha256
from federation.ledger import abi
from tests.contract.tracing import Traces

FOLDER = Path(__file__).parents[2] / "contracts"
REPORT, TABLE = FOLDER / "coverage.json", FOLDER / "coverage.md"
NAMES = (contracts.CONTRACT, contracts.COURT)
TESTS = (
    *(f"tests/contract/test_{name}.py" for name in ("refusals", "invariants", "evidence", "judged_headers")),
    *("tests/contract/test_judge.py", "tests/contract/test_lockstep.py"),
    *(f"tests/laws/test_{name}.py" for name in ("governance", "disputes", "ledger")),
)
# By chain; what compiles for itself, or only repeats calls, shows nothing here.
LEFT_OUT = " and ".join(
    f"not {word}" for word in ("ganache", "memory", "precompile", "no_limit_of_gas", "another_law", "cost")
)
DISPUTES, SEQUENCES = 30, 40  # of each suite; in lockstep
BLOCK_GAS, CALL_GAS = 1_000_000_000, 100_000_000  # nothing here is measured

JUMPI, JUMPDEST, PUSH1, PUSH32 = 0x57, 0x5B, 0x60, 0x7F
STATEMENTS = {
    "ExpressionStatement", "VariableDeclarationStatement", "Return", "IfStatement", "ForStatement",
    "EmitStatement", "RevertStatement", "InlineAssembly",
}  # fmt: skip

Node = dict[str, object]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Place:
    """A piece of a source."""

    file: str
    line: int
    function: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One conditional jump that stands in the source, and what its two ways mean."""

    place: Place
    pc: int
    jumps: str  # what holds where it jumps
    falls: str  # what holds where it does not


@dataclass(frozen=True, slots=True)
class Code:
    """One contract as it runs, and where in the sources each instruction comes from."""

    runtime: bytes
    branches: Sequence[Branch]
    lines: Mapping[int, frozenset[tuple[str, int]]]  # of statements, by the start of each basic block

    @property
    def countable(self) -> set[tuple[str, int]]:
        """Every line on which a statement begins."""
        return {line for lines in self.lines.values() for line in lines}


def instructions(runtime: bytes) -> Iterator[tuple[int, int]]:
    """Where each instruction stands, and its opcode."""
    pc = 0
    while pc < len(runtime):
        op = runtime[pc]
        yield pc, op
        pc += 1 + (op - PUSH1 + 1 if PUSH1 <= op <= PUSH32 else 0)


def ranges(source_map: str) -> Iterator[str]:
    """start:length:file of each instruction; an empty field is that of the one before."""
    last = ["0", "0", "-1"]
    for entry in source_map.split(";"):
        given = entry.split(":")[:3]
        last = [new or old for new, old in zip([*given, "", "", ""][:3], last, strict=True)]
        yield ":".join(last)


@dataclass(slots=True)
class Sources:
    """The sources' syntax trees, looked up by place."""

    texts: Mapping[int, tuple[str, bytes]]  # file name and content, by the compiler's number
    nodes: dict[str, list[Node]]
    conditions: set[str]  # of loops
    functions: list[tuple[int, int, int, str]]  # file, first and last byte, name

    @classmethod
    def of(cls, task: contracts.StandardInput, output: dict[str, dict[str, Node]]) -> Sources:
        texts = {
            int(source["id"]): (Path(name).name, task["sources"][name]["content"].encode())
            for name, source in output["sources"].items()
        }
        found = cls(texts, {}, set(), [])
        for source in output["sources"].values():
            found._walk(source["ast"])
        return found

    def _walk(self, node: object) -> None:
        if isinstance(node, list):
            for part in node:
                self._walk(part)
        if not isinstance(node, dict):
            return
        if "nodeType" in node:
            source = str(node["src"])
            self.nodes.setdefault(source, []).append(node)
            if node["nodeType"] in {"ForStatement", "WhileStatement"} and node.get("condition"):
                self.conditions.add(node["condition"]["src"])
            if node["nodeType"] == "FunctionDefinition":
                start, length, file = map(int, source.split(":"))
                self.functions.append((file, start, start + length, node["name"] or node["kind"]))
        for part in node.values():
            self._walk(part)

    def place(self, source: str) -> Place:
        start, length, file = map(int, source.split(":"))
        name, text = self.texts[file]
        around = (f for n, a, b, f in self.functions if n == file and a <= start < b)
        shown = " ".join(text[start : start + length].decode().split())
        return Place(
            file=name, line=1 + text[:start].count(b"\n"), function=next(around, ""), text=shown[:90]
        )

    def branch(self, source: str, pc: int, number: int) -> Branch | None:
        """What the jump decides; None for the compiler's own checks: of ranges, lengths, overflow, calls."""
        kinds = {str(node["nodeType"]): node for node in self.nodes.get(source, ())}
        place = None
        if "IfStatement" in kinds:
            place = self.place(str(kinds["IfStatement"]["condition"]["src"]))
            return Branch(place=place, pc=pc, jumps="false", falls="true")
        if "Conditional" in kinds:
            place = self.place(str(kinds["Conditional"]["condition"]["src"]))
            return Branch(place=place, pc=pc, jumps="false", falls="true")
        if "BinaryOperation" in kinds:
            operation = kinds["BinaryOperation"]
            if operation["operator"] in {"&&", "||"} and not (source in self.conditions and number):
                place = self.place(str(operation["leftExpression"]["src"]))
                ways = ("false", "true") if operation["operator"] == "&&" else ("true", "false")
                return Branch(place=place, pc=pc, jumps=ways[0], falls=ways[1])
            if source in self.conditions:
                return Branch(place=self.place(source), pc=pc, jumps="goes on", falls="ends")
        if "InlineAssembly" in kinds:
            found = self.place(source)
            shown = f"assembly, jump {number + 1}"
            place = Place(file=found.file, line=found.line, function=found.function, text=shown)
            return Branch(place=place, pc=pc, jumps="jumps", falls="falls through")
        return None


def code_of(sources: Sources, compiled: dict[str, str]) -> Code:
    """What the code's jumps and blocks are in the sources."""
    runtime = bytes.fromhex(compiled["object"])
    branches, lines, block = [], {}, 0
    often: Counter[str] = Counter()
    after_jump = False
    # What lies behind the code proper (metadata) has no place in the sources.
    for (pc, op), source in zip(instructions(runtime), ranges(compiled["sourceMap"]), strict=False):
        if op == JUMPDEST or after_jump:
            block = pc
        after_jump = op == JUMPI
        here = sources.nodes.get(source, ())
        places = {sources.place(source) for node in here if node["nodeType"] in STATEMENTS}
        lines.setdefault(block, set()).update((place.file, place.line) for place in places)
        if op == JUMPI:
            branch = sources.branch(source, pc, often[source])
            often[source] += 1
            branches += [branch] if branch else []
    return Code(runtime, branches, {at: frozenset(found) for at, found in lines.items()})


def plain_build() -> tuple[contracts.Build, list[Code]]:
    """The sources compiled without optimizer, as a build to deploy, and where its code comes from."""
    import solcx

    task = contracts.standard_input("abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode")
    task["settings"]["optimizer"] = {"enabled": False}
    output = solcx.compile_standard(dict(task), solc_binary=contracts._compiler())
    sources = Sources.of(task, output)
    made = [output["contracts"][f"contracts/{name}.sol"][name] for name in NAMES]
    codes = [code_of(sources, one["evm"]["deployedBytecode"]) for one in made]
    ledger, court = map(contracts._code, made)
    shipped = contracts.built()
    return contracts.Build(**{**shipped, **ledger, "court": court}), codes


def run_tests(build: contracts.Build) -> Traces:
    """What the contract's tests, all of which pass, run of this build."""
    traces, start, arguments = Traces(), devnet.Devnet.start.__func__, devnet._arguments

    def watched(cls: type[devnet.Devnet], kind: devnet.Kind, **settings: object) -> devnet.Devnet:
        chain = start(cls, kind, **settings)
        chain.url = traces.watched(chain.url)
        return chain

    def unlimited(kind: devnet.Kind, *rest: object) -> Sequence[str]:
        given = [str(BLOCK_GAS) if part == str(devnet.BLOCK_GAS) else part for part in arguments(kind, *rest)]
        return [*given, "--disable-code-size-limit"]

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as place:
        fresh = Path(place) / "build.json"
        fresh.write_text(json.dumps(build))
        patch.setattr(contracts, "BUILT", fresh)
        patch.setattr(abi, "_build", lambda: build)  # what ledgers take for the audited one
        patch.setattr(devnet, "_arguments", unlimited)
        patch.setattr(devnet.Devnet, "start", classmethod(watched))
        from tests.contract import conftest, court, test_judge, test_lockstep, twins

        patch.setattr(conftest, "GAS", CALL_GAS)
        patch.setattr(conftest, "GAS_PRICE", 10**9 * 2)
        patch.setattr(court, "GAS", CALL_GAS)
        patch.setattr(twins, "GAS", hex(CALL_GAS))
        patch.setattr(test_judge, "DISPUTES", DISPUTES)
        patch.setattr(test_lockstep, "SEQUENCES", SEQUENCES)
        patch.setattr(test_lockstep, "ANSWERS", 0)  # of fewer sequences
        patch.setattr(test_lockstep, "TAKEN", set())
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-k", LEFT_OUT]
        if code := pytest.main([*options, *TESTS, *sys.argv[1:]]):
            raise SystemExit(f"the tests have to pass: pytest ended with {code}")
    return traces


def report(codes: Sequence[Code], traces: Traces, before: Sequence[dict[str, object]]) -> dict[str, object]:
    """Figures of each file, and every way that was not taken, with the answer that it had `before`."""
    answers = {_identity(one): str(one["why"]) for one in before}
    total: dict[str, Counter[str]] = {}
    untaken: dict[tuple[object, ...], dict[str, object]] = {}
    for code in codes:
        ways = traces.ways.get("0x" + code.runtime.hex(), set())
        for branch in code.branches:
            of_file = total.setdefault(branch.place.file, Counter())
            out = [way for way, means in _ways(code, branch) if way not in ways]
            of_file["ways"] += 2
            of_file["ways taken"] += 2 - len(out)
            for means in (means for way, means in _ways(code, branch) if way in out):
                entry = {**asdict(branch.place), "never": means}
                untaken[_identity(entry)] = {**entry, "why": answers.get(_identity(entry), "")}
        reached = {line for at, lines in code.lines.items() if _ran(at, ways) for line in lines}
        for file, line in code.countable:
            of_file = total.setdefault(file, Counter())
            of_file["lines"] += 1
            of_file["lines run"] += (file, line) in reached
    return {
        "sources": {name: sha256((FOLDER / name).read_bytes()).hex() for name in contracts.SOURCES},
        "files": {name: dict(total[name]) for name in contracts.SOURCES if name in total},
        "untaken": sorted(untaken.values(), key=lambda one: (one["file"], one["line"], one["text"])),
    }


def _ways(code: Code, branch: Branch) -> list[tuple[str, str]]:
    """Both, as the tracer writes them, and what each means."""
    target = _target(code, branch.pc)
    return [(f"{branch.pc}>{target}", branch.jumps), (f"{branch.pc}>{branch.pc + 1}", branch.falls)]


def _target(code: Code, pc: int) -> int:
    """Where the jump leads: the unoptimised code pushes every target just before it."""
    for length in (1, 2, 3):
        at = pc - 1 - length
        if code.runtime[at] == PUSH1 + length - 1:
            target = int.from_bytes(code.runtime[at + 1 : pc], "big")
            if target < len(code.runtime) and code.runtime[target] == JUMPDEST:
                return target
    raise AssertionError(f"no target before the jump at {pc}")


def _ran(block: int, ways: set[str]) -> bool:
    """Whether the block was entered: by its label, or by not jumping just before it."""
    return str(block) in ways or f"{block - 1}>{block}" in ways


def _identity(untaken: Mapping[str, object]) -> tuple[object, ...]:
    """Of a way, whatever line it moves to."""
    return untaken["file"], untaken["function"], untaken["text"], untaken["never"]


def table(found: dict[str, object]) -> str:
    """The figures as a document."""
    lines = [
        "# What the tests run of the contracts",
        "",
        "`make contract-coverage` measures anew and writes this file and `coverage.json`. Each way of an",
        "`if`, a `?:`, an `&&`, an `||`, a loop's condition and a jump in assembly counts as one; the",
        "compiler's own checks (overflow, ranges, lengths) do not. Measured on a build of the same sources",
        "without optimizer, whose jumps are those of the source, on Anvil; by calls that were taken and by",
        "calls that were refused.",
        "",
        "| file | branches taken | lines run |",
        "|---|---|---|",
    ]
    sums: Counter[str] = Counter()
    for name, figures in found["files"].items():
        cells = _shown(figures, "ways taken", "ways"), _shown(figures, "lines run", "lines")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
        sums.update(figures)
    lines.append(f"| all | {_shown(sums, 'ways taken', 'ways')} | {_shown(sums, 'lines run', 'lines')} |")
    lines += ["", "## Never taken", "", "| where | what | never | why |", "|---|---|---|---|"]
    for one in found["untaken"]:
        text = str(one["text"]).replace("|", "\\|")
        lines.append(
            f"| `{one['file']}`:{one['line']} {one['function']} | `{text}` | {one['never']} | {one['why']} |"
        )
    return "\n".join(lines) + "\n"


def _shown(figures: Mapping[str, int], part: str, whole: str) -> str:
    if not figures.get(whole):
        return "none"
    return f"{figures[part]} of {figures[whole]} ({100 * figures[part] / figures[whole]:.0f} %)"


def main() -> int:
    """1 if a way was not taken that has no answer; both files are written all the same."""
    build, codes = plain_build()
    traces = run_tests(build)
    before = json.loads(REPORT.read_text())["untaken"] if REPORT.exists() else []
    found = report(codes, traces, before)
    REPORT.write_text(json.dumps(found, indent=1) + "\n")
    TABLE.write_text(table(found))
    open_ = [one for one in found["untaken"] if not one["why"]]
    print(f"{traces.traced} calls traced; {len(found['untaken'])} ways never taken, {len(open_)} unanswered")
    for one in open_:
        print(f"  {one['file']}:{one['line']} {one['function']}: {one['text']} never {one['never']}")
    return 1 if open_ else 0


if __name__ == "__main__":
    sys.exit(main())
