"""Runs Snakemake's command line in forks of this process, which has imported it.

A program: reads lines of JSON, [folder, arguments, environment], and answers each with a line, [exit status, output].
"""

import json
import os
import sys
import tempfile

import snakemake.cli
import snakemake.executors.local  # Snakemake imports this only when needed, which is in most runs
import snakemake.utils  # noqa: F401


def run(folder, arguments, environment):
    """Exit status and output, both streams together, of `snakemake ARGUMENTS`."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = ["snakemake", *arguments]
            snakemake.cli.main()  # ends the process
            os._exit(0)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)
