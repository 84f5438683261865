"""How long the page takes to answer: `python -m benchmarks.studies.page_latency --model MODEL --pictures FOLDER`.

The page is served as `clicksight serve` does, with an index of the pictures; then some clients at once send pictures,
each the next one as soon as it has an answer, and words. The benchmark prints the median and the 95th percentile of
each kind of request in milliseconds, as the clients see them. Clients and server share this machine's cores.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import httpx

from clicksight.pictures import Pictures

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
START_SECONDS = 600.0


def timed(ask: Callable[[], httpx.Response]) -> float:
    """Return the milliseconds of a request.

    Raises:
        httpx.HTTPStatusError: it failed.
    """
    started = time.perf_counter()
    ask().raise_for_status()
    return 1000 * (time.perf_counter() - started)


def row(what: str, times: Sequence[float]) -> str:
    """Return a line of the table."""
    return f"| {what} | {len(times)} | {statistics.median(times):.0f} | {statistics.quantiles(times, n=20)[-1]:.0f} |"


def address_of(server: subprocess.Popen[bytes], said: Path) -> str:
    """Return a started server's address.

    Raises:
        SystemExit: it has ended, or doesn't start in time.
    """
    until = time.monotonic() + START_SECONDS
    while not (found := ADDRESS.search(said.read_text())):
        if server.poll() is not None or time.monotonic() > until:
            sys.exit(f"the page was not served:\n{said.read_text()}")
        time.sleep(0.1)
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a model folder of a run with a click branch")
    parser.add_argument("--pictures", nargs="+", required=True, help="as clicksight index takes them")
    parser.add_argument("--at-once", type=int, default=10, help="clients (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="of each kind (default: %(default)s)")
    options = parser.parse_args()
    bodies = [one.data for one in islice(Pictures(options.pictures), options.requests) if one.data is not None]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.at_once) as clients:
        said = Path(folder) / "said.txt"
        command = [sys.executable, "-m", "clicksight.serve", options.model, "--port=0", "--rate=1000000/minute"]
        command += ["--keep", folder, "--pictures", *options.pictures]
        with said.open("w") as output:
            server = subprocess.Popen(command, stderr=output)
        try:
            address = address_of(server, said)
            limits = httpx.Limits(max_connections=options.at_once)
            with httpx.Client(base_url=address, timeout=60, trust_env=False, limits=limits) as client:
                word = client.get("/").text.partition('class="word">')[2].partition("<")[0]

                def predict(number: int) -> float:
                    body = bodies[number % len(bodies)]
                    return timed(lambda: client.post("/models/0/predict", content=body))

                def search(_: int) -> float:
                    return timed(lambda: client.get("/galleries/0/search", params={"words": word}))

                predict(0)  # loads the model
                print(f"| {options.at_once} clients at once | requests | median, ms | 95 % below, ms |")
                print("|---|---:|---:|---:|")
                for what, ask in (("a picture", predict), ("words", search)):
                    print(row(what, list(clients.map(ask, range(options.requests)))))
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
