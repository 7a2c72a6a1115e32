"""Killing writers and cutting the power, hundreds of times, and checking every promise against what had been acknowledged.

python -m tests.crash.kill --kills 200      kill -9 of a running `afterview watch`, at named failpoints, and of writers with a store
python -m tests.crash.moved                 directories that are moved, replaced or deleted at every step, and under a running watch
python -m tests.crash.power --prefixes 400  power loss: a recorded trace of writes, replayed without what was never fsync'd
"""
