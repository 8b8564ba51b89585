"""The script of the pipeline: frequent.py COUNTS_DIR RESULT_DIR AT_LEAST

Reads the lines [word, count] in the files of COUNTS_DIR and writes those words that occur AT_LEAST so often
into RESULT_DIR/words.txt, a line `word count` each. A script may be run again after a machine has died in the
midst of it, so that the result takes its place in one step.
"""

import json
import os
import sys
from pathlib import Path


def main(counts_dir, result_dir, at_least):
    counts = {}
    for part in sorted(Path(counts_dir).rglob("part-*.jsonl")):
        counts.update(map(json.loads, part.read_text().splitlines()))
    frequent = {word: count for word, count in counts.items() if count >= int(at_least)}
    os.makedirs(result_dir, exist_ok=True)
    result = Path(result_dir, "words.txt")
    unfinished = result.with_name(".words.txt.new")
    unfinished.write_text("".join(f"{word} {count}\n" for word, count in sorted(frequent.items())))
    os.replace(unfinished, result)
    print(f"{len(frequent)} of {len(counts)} words occur at least {at_least} times")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
