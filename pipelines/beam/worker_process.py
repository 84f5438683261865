"""The program of Beam's worker processes (`multi_processing`): Beam's own, which prints no traceback of a user error.

The job raises that error itself (:mod:`pipelines.beam.runner`).
"""

import logging
import sys

from apache_beam.runners.worker import sdk_worker_main

from pipelines.beam.quiet import quiet_about_user_errors

if __name__ == "__main__":
    logging.getLogger().handlers.clear()  # made by Beam's import; all records go to the job's own process
    with quiet_about_user_errors():
        sdk_worker_main.main(sys.argv)
