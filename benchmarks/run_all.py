"""Run all benchmarks and print one table. ``--quick`` uses small sizes, to check that all of them run."""

from __future__ import annotations

import sys

import cells
import claim_scale
import dashboard
import dask_map
import disk
import dispatcher
import enqueue_many
import exports
import frames
import functions
import lab_page
import latency
import live_cards
import many_workers
import measure
import memory
import startup
import throughput
import wait_many
import web_clients
import web_page

import notebooks

BENCHMARKS = {
    throughput: ["--jobs", "300", "--rounds", "2"],
    latency: ["--samples", "40", "--idle-seconds", "5"],
    startup: ["--rounds", "5"],
    claim_scale: ["--finished", "20000", "--delayed", "20000", "--rounds", "100"],
    memory: ["--jobs", "1000", "--megabytes", "50"],
    disk: ["--jobs", "50000", "--rounds", "20"],
    many_workers: ["--jobs", "300", "--workers", "32", "--rounds", "1"],
    enqueue_many: ["--jobs", "10000", "--rounds", "2"],
    frames: ["--jobs", "20000", "--rounds", "2"],
    exports: ["--jobs", "20000", "--rounds", "1"],
    wait_many: ["--jobs", "1000", "--rounds", "1"],
    functions: ["--calls", "200", "--rounds", "2", "--samples", "20"],
    cells: ["--rounds", "3"],
    notebooks: ["--rounds", "2"],
    dask_map: ["--jobs", "200", "--rounds", "2"],
    dispatcher: ["--jobs", "2000", "--in-flight", "100"],
    dashboard: ["--jobs", "20000", "--rounds", "2"],
    live_cards: ["--cards", "100", "--seconds", "3"],
    lab_page: ["--cards", "20", "--running", "5", "--batch", "300", "--seconds", "3"],
    web_page: ["--jobs", "100000", "--samples", "10"],
    web_clients: ["--jobs", "1000", "--clients", "50", "--rounds", "1"],
}
"""In the order of the table, each with the sizes of ``--quick``."""


def main() -> int:
    """Run all benchmarks and print the table; with ``--check`` the exit status is 1 if a target was missed."""
    parser = measure.options(__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    rows = []
    for each, quick in BENCHMARKS.items():
        print(f"{each.__name__} …", file=sys.stderr)
        rows += each.run(each.parser().parse_args(quick if args.quick else []))
    print(measure.table(rows))
    return int(args.check and any(row.reached is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
