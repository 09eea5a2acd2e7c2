"""Print a configuration as it is after inheritance and overrides.

python tools/print_config.py configs/simcc_mpii_ausam.py --cfg-options train_cfg.max_epochs=10
"""

from __future__ import annotations

import argparse

from _common import Options, load_config, run_tool


def main(argv: list[str] | None = None) -> None:
    """Print."""
    parser = argparse.ArgumentParser(description="Print a whole configuration")
    parser.add_argument("config", help="configuration file")
    parser.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    print(load_config(args.config, args.cfg_options).pretty_text)


if __name__ == "__main__":
    run_tool(main)
