"""Write the system's part of the report."""

import argparse
from pathlib import Path

from base.artifacts import read_json, whole_directory
from base.console import stage
from report.sections import part_of, write_part

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with stage("report backgrounds"), whole_directory(options.output) as folder:
        error = read_json(options.evaluation / "metrics.json")["squared_error"]
        template = Path(__file__).with_name("part.html.jinja")
        sections = [("backgrounds_error", "Squared error")]
        write_part(part_of("backgrounds", "Backgrounds", sections, template, {}, error=f"{error:.4f}"), folder)
