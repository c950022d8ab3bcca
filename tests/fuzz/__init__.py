"""Fuzzing: bytes of strangers against everything that reads them. ``make fuzz SECONDS=60``, or ``python -m tests.fuzz --help``.

targets.py   what is fed, one function a parser; each checks what must hold besides "does not crash"
mutate.py    how captures and other inputs are changed, with their formats in mind
seeds.py     where inputs begin: the bundled recordings, tests/data, the regressions, and folders named on the command line
__main__.py  runs targets in worker processes, watches time, memory and crashes, keeps what behaves in a new way, writes down what fails
coverage.py  which lines and branches an input reached first, with kernels as plain Python so that their branches are seen
regressions/ inputs that once failed, by target; tests/fuzz/test_fuzz.py feeds them all again
"""
