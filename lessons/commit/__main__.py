"""`python -m lessons.commit`: the table of docs/learn.md."""

from __future__ import annotations

from lessons.commit.race import FAULTS, PROTOCOLS, run


def main() -> None:
    """Print how long each protocol was unavailable under each fault, and whether its copies differ."""
    for fault in FAULTS:
        print(fault.title)
        for protocol in PROTOCOLS:
            result = run(protocol, fault.name, lambda frame: None)
            until = "" if result.ended else ", and still at the end"
            copies = " and ".join(result.balances)
            print(f"  {result.protocol:20} {result.unavailable_us / 1e6:.2f} s{until}; balances: {copies}")


if __name__ == "__main__":
    main()
