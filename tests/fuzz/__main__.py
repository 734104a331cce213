"""Many mutants on all cores: `make fuzz`. What goes wrong is kept in tests/fuzz/corpus and named; status 1.

python -m tests.fuzz [--mutants 1000000] [--first 0] [--streams 200000] [--data-sets 50000]
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time

CHUNK = 10_000
#: Every so many mutants each of their fields is read in every way, which costs most of the time.
DEEPLY = 20


def run(first: int) -> list[tuple[int, str]]:
    """Mutants `first` to `first + CHUNK`: the seeds of those that did harm, and what happened."""
    from tests.fuzz import driver, mutator

    good, found = mutator.seeds(), []
    for seed in range(first, first + CHUNK):
        wrong = driver.wrong_with(mutator.mutant(seed, good), every_field=seed % DEEPLY == 0)
        if wrong:
            found.append((seed, wrong))
    return found


def fuzz_dicom(streams: int, data_sets: int) -> set[str]:
    """The kinds of harm; a seed is enough to do it again."""
    from tests.fuzz import dicom

    begun, kept = time.monotonic(), set[str]()
    with multiprocessing.Pool(initializer=_quiet) as pool:
        for found in pool.imap_unordered(dicom.run, dicom.jobs(streams, data_sets)):
            for kind, seed, wrong in found:
                if wrong not in kept:
                    kept.add(wrong)
                    print(f"{kind} {seed}: {wrong}", flush=True)
    took = time.monotonic() - begun
    print(f"{streams} DICOM streams, {data_sets} data sets in {took:.0f} s: {len(kept)} kinds of harm")
    return kept


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what reads HL7 and DICOM.")
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--streams", type=int, default=200_000, help="of DICOM protocol data units")
    parser.add_argument("--data-sets", type=int, default=50_000, help="of DICOM")
    options = parser.parse_args()
    os.environ.update(
        DJANGO_SETTINGS_MODULE="ris.settings", RIS_ENV="test", DATABASE_URL="postgresql:///none", RIS_SECRET_KEY="fuzz"
    )  # fmt: skip
    from tests.fuzz import driver, mutator

    begun, kept = time.monotonic(), set[str]()
    for name, raw in mutator.giants():
        if wrong := driver.wrong_with(raw):
            kept.add(f"{name}: {wrong}")
            print(f"{name}: {wrong}", flush=True)
    starts = range(options.first, options.first + options.mutants, CHUNK)
    with multiprocessing.Pool() as pool:
        for number, found in enumerate(pool.imap_unordered(run, starts), 1):
            for seed, wrong in found:
                if wrong not in kept:
                    kept.add(wrong)
                    (mutator.CORPUS / f"seed-{seed}.hl7").write_bytes(mutator.mutant(seed, mutator.seeds()))
                    print(f"seed {seed}: {wrong}", flush=True)
            if number % 10 == 0:
                print(f"{number * CHUNK} mutants, {time.monotonic() - begun:.0f} s", flush=True)
    kept |= fuzz_dicom(options.streams, options.data_sets)
    print(f"{len(starts) * CHUNK} mutants in {time.monotonic() - begun:.0f} s: {len(kept)} kinds of harm")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
