"""All that a GPU is wanted for, in turn: attention, steps, and the stream feeding them.

    python -m tests.benchmarks.trainer.gpu              on one card; long, never timed
    python -m tests.benchmarks.trainer.gpu --dry-run    tiny sizes on a CPU, to see that it runs

Each part is a command of its own, with options for less: `gpu_attention`, `gpu_step`, `gpu_feed`.
"""

import argparse
import subprocess
import sys

PARTS = (("gpu_attention",), ("gpu_step", "--profile"), ("gpu_feed",))


def main() -> None:
    """Runs the parts; the first that fails ends it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    dry = ["--dry-run"] if parser.parse_args().dry_run else []
    for name, *options in PARTS:
        print(f"\n{name}\n", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.trainer.{name}", *options, *dry]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
