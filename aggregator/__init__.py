"""The aggregator: adds what it cannot read, and is trusted with nothing (PROTOCOL §1).

An update's way through this package: `admit` → `combine` → `unseal` → `publish`. `duty` says from the
ledger which of these is due, `conductor` does it, `app` shows what it sees, `__main__` wires it all.
"""
