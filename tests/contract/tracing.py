"""Chains seen through a node that remembers which ways the contracts' code went, call by call.

Everything passes unaltered. A call, taken or refused, mined or not, is run once more by the node's own
tracer; the tests know nothing of it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import httpx

Call = dict[str, object]
Answer = dict[str, object]

# Of each contract that ran: "p>q" for a conditional jump at p that went on at q, "p" for a label it came to.
TRACER = """{ seen: {}, at: null, depth: -1, where: '',
 step: function (log) {
  var op = log.op.toNumber();
  if (this.at === null && op !== 0x57 && op !== 0x5b) { return; }
  var pc = log.getPC();
  if (this.at !== null) { this.seen[this.at + '>' + pc] = 1; this.at = null; }
  if (op === 0x57 || op === 0x5b) {
   if (log.getDepth() !== this.depth) {
    this.depth = log.getDepth();
    this.where = toHex(log.contract.getAddress()) + ':';
   }
   if (op === 0x57) { this.at = this.where + pc; } else { this.seen[this.where + pc] = 1; }
  }
 },
 fault: function () {}, result: function () { return Object.keys(this.seen); } }"""
BARREN = 8  # calls of one kind and end in a row that show nothing new: no more of them are traced
SENT = {"eth_sendRawTransaction", "eth_sendTransaction", "eth_sendTransactionSync"}


@dataclass(slots=True)
class Traces:
    """What was seen of every chain, by the code that ran."""

    ways: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by deployed code, as hex
    traced: int = 0
    _barren: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=300.0))

    def watched(self, url: str) -> str:
        """The URL of a node that passes everything on to the one behind `url`, and remembers."""
        traces = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                body = traces._http.post(
                    url, content=asked, headers={"Content-Type": "application/json"}
                ).content
                traces._follow(url, json.loads(asked), json.loads(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def _follow(self, url: str, asked: Call | list[Call], answered: Answer | list[Answer]) -> None:
        calls = asked if isinstance(asked, list) else [asked]
        answers = answered if isinstance(answered, list) else [answered]
        by_id = {answer["id"]: answer for answer in answers}
        with self._lock:
            for call in calls:
                self._trace(url, str(call["method"]), list(call.get("params", ())), by_id[call["id"]])

    def _trace(self, url: str, method: str, params: list[object], answer: Answer) -> None:
        if method in {"eth_call", "eth_estimateGas"}:
            call, block, overrides, time = [*params, *("latest", None, None)[len(params) - 1 :]]
            options = {"tracer": TRACER, "stateOverrides": overrides or {}, "blockOverrides": time or {}}
            data = str(call.get("data") or call.get("input"))
            end = str((answer.get("error") or {}).get("data") or answer.get("error", ""))[:10]
            self._add(url, f"{data[:10]} {end}", "debug_traceCall", [call, block, options])
        elif method in SENT and "result" in answer:
            told = answer["result"]
            sent = told["transactionHash"] if isinstance(told, dict) else told
            (about,) = self._ask(url, [("eth_getTransactionByHash", [sent])])
            if about and about["to"]:  # a constructor's code is not the deployed one
                kind = f"{str(about['input'])[:10]} mined"
                self._add(url, kind, "debug_traceTransaction", [sent, {"tracer": TRACER}])

    def _add(self, url: str, kind: str, method: str, params: list[object]) -> None:
        if self._barren[kind] >= BARREN:
            return
        (seen,) = self._ask(url, [(method, params)])
        by_address: dict[str, set[str]] = defaultdict(set)
        for way in seen or ():
            address, _, rest = str(way).partition(":")
            by_address[address].add(rest)
        codes = self._ask(url, [("eth_getCode", [address, "latest"]) for address in by_address])
        fresh = False
        for ways, code in zip(by_address.values(), codes, strict=True):
            fresh |= not ways <= self.ways[code]
            self.ways[code] |= ways
        self.traced += 1
        self._barren[kind] = 0 if fresh else self._barren[kind] + 1

    def _ask(self, url: str, questions: list[tuple[str, list[object]]]) -> list[object]:
        if not questions:
            return []
        batch = [
            {"jsonrpc": "2.0", "id": k, "method": method, "params": params}
            for k, (method, params) in enumerate(questions)
        ]
        answers = sorted(self._http.post(url, json=batch).json(), key=lambda answer: answer["id"])
        return [answer.get("result") for answer in answers]
